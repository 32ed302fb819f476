package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	faktory "github.com/contribsys/faktory/client"
)

// push enqueues each line of the input: a job, whose jid and times are made as the library makes them if they are
// missing. With -many so many go in one PUSHB; otherwise each goes by itself.
func push() {
	many := flag.Int("many", 0, "jobs in one PUSHB; 0: PUSH")
	flag.Parse()

	client, err := faktory.Open()
	check(err)
	defer client.Close()
	var batch []*faktory.Job
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<22)
	for input.Scan() {
		job := faktory.NewJob("")
		check(json.Unmarshal(input.Bytes(), job))
		if *many == 0 {
			check(client.Push(job))
			continue
		}
		batch = append(batch, job)
		if len(batch) == *many {
			pushed(client, batch)
			batch = nil
		}
	}
	check(input.Err())
	if len(batch) > 0 {
		pushed(client, batch)
	}
}

func pushed(client *faktory.Client, batch []*faktory.Job) {
	refused, err := client.PushBulk(batch)
	check(err)
	if len(refused) > 0 {
		check(fmt.Errorf("refused: %v", refused))
	}
}
