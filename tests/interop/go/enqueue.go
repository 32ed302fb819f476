package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/gocraft/work"
)

type enqueueRequest struct {
	Call string                 `json:"call"`
	Name string                 `json:"name"`
	Args map[string]interface{} `json:"args"`
	In   int64                  `json:"in"`
}

type enqueueReply struct {
	ID    *string `json:"id"`
	Error *string `json:"error"`
	RunAt int64   `json:"run_at,omitempty"`
}

func runEnqueue(argv []string) {
	fs, c := newFlags("enqueue")
	fs.Parse(argv)
	enqueuer := work.NewEnqueuer(c.ns, newRedisPool(c.redis, 2))

	in := json.NewDecoder(os.Stdin)
	in.UseNumber() // plain decoding would turn every integer into a float64
	for {
		var req enqueueRequest
		if err := in.Decode(&req); err == io.EOF {
			return
		} else if err != nil {
			fatal(err)
		}
		emit(enqueue(enqueuer, req))
	}
}

func enqueue(e *work.Enqueuer, req enqueueRequest) enqueueReply {
	var reply enqueueReply
	fail := func(err error) enqueueReply {
		text := err.Error()
		reply.Error = &text
		return reply
	}
	args, err := exactMap(req.Args)
	if err != nil {
		return fail(err)
	}

	var job *work.Job
	var scheduled *work.ScheduledJob
	switch req.Call {
	case "Enqueue":
		job, err = e.Enqueue(req.Name, args)
	case "EnqueueIn":
		scheduled, err = e.EnqueueIn(req.Name, req.In, args)
	case "EnqueueUnique":
		job, err = e.EnqueueUnique(req.Name, args)
	case "EnqueueUniqueIn":
		scheduled, err = e.EnqueueUniqueIn(req.Name, req.In, args)
	case "EnqueueUniqueByKey", "EnqueueUniqueInByKey":
		err = errors.New("gocraft/work v0.5.1 knows no jobs unique by key") // they came after its last tag
	default:
		err = fmt.Errorf("unknown call %q", req.Call)
	}
	if scheduled != nil {
		job = scheduled.Job
		reply.RunAt = scheduled.RunAt
	}
	if job != nil { // nil without an error means a duplicate
		reply.ID = &job.ID
	}
	if err != nil {
		return fail(err)
	}
	return reply
}

// exactMap keeps nil apart from empty: the two give different unique keys.
func exactMap(m map[string]interface{}) (map[string]interface{}, error) {
	if m == nil {
		return nil, nil
	}
	v, err := exact(m)
	if err != nil {
		return nil, err
	}
	return v.(map[string]interface{}), nil
}

// exact turns json.Number into int64 where it fits, else uint64, else float64.
func exact(v interface{}) (interface{}, error) {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil && v.String() != "-0" {
			return i, nil
		}
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return u, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, errors.New("number out of range: " + v.String())
		}
		return f, nil
	case []interface{}:
		out := make([]interface{}, len(v))
		for i := range v {
			item, err := exact(v[i])
			if err != nil {
				return nil, err
			}
			out[i] = item
		}
		return out, nil
	case map[string]interface{}:
		out := make(map[string]interface{}, len(v))
		for k := range v {
			item, err := exact(v[k])
			if err != nil {
				return nil, err
			}
			out[k] = item
		}
		return out, nil
	}
	return v, nil
}
