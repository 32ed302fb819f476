package main

import (
	"encoding/json"
	"io"
	"os"

	"github.com/benmanns/goworker"
)

type enqueueRequest struct {
	Queue string        `json:"queue"`
	Class string        `json:"class"`
	Args  []interface{} `json:"args"`
}

type enqueueReply struct {
	Jobs int `json:"jobs"`
}

// runEnqueue enqueues a job for every line of stdin, and tells how many when all are stored.
func runEnqueue(argv []string) {
	settings := goworker.WorkerSettings{QueuesString: "any", Connections: 1}
	newFlags("enqueue", &settings).Parse(argv)
	use(settings)

	var reply enqueueReply
	in := json.NewDecoder(os.Stdin)
	in.UseNumber() // plain decoding would turn every integer into a float64
	for {
		var req enqueueRequest
		if err := in.Decode(&req); err == io.EOF {
			break
		} else if err != nil {
			fatal(err)
		}
		job := &goworker.Job{Queue: req.Queue, Payload: goworker.Payload{Class: req.Class, Args: req.Args}}
		if err := goworker.Enqueue(job); err != nil {
			fatal(err)
		}
		reply.Jobs++
	}
	if err := await(); err != nil {
		fatal(err)
	}
	emit(reply)
}

// await reads the answers to all that was sent on the only connection: the library does not.
func await() error {
	if err := goworker.Init(); err != nil {
		return err
	}
	conn, err := goworker.GetConn()
	if err != nil {
		return err
	}
	defer goworker.PutConn(conn)
	_, err = conn.Do("PING")
	return err
}
