package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/gocraft/work"
)

type pageReply struct {
	Count int64       `json:"count"`
	Jobs  interface{} `json:"jobs"`
}

type statusReply struct {
	Status string `json:"status"`
}

type errorReply struct {
	Error string `json:"error"`
}

func runClient(argv []string) {
	fs, c := newFlags("client")
	page := fs.Uint("page", 1, "page of 20, from 1")

	// Flags may stand before, between or after the arguments.
	var args []string
	for fs.Parse(argv); fs.NArg() > 0; fs.Parse(argv) {
		args = append(args, fs.Arg(0))
		argv = fs.Args()[1:]
	}
	if len(args) == 0 {
		fatal(fmt.Errorf("client needs an operation"))
	}

	// Retrying the dead nests two borrowed connections.
	client := work.NewClient(c.ns, newRedisPool(c.redis, 4))
	answer, err := ask(client, args, *page)
	if err != nil {
		emit(errorReply{err.Error()})
		os.Exit(1)
	}
	emit(answer)
}

// ask turns a panic into an error: listing queues panics on an undecodable job.
func ask(c *work.Client, args []string, page uint) (answer interface{}, err error) {
	defer func() {
		if p := recover(); p != nil {
			answer, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()

	op := args[0]
	byID := map[string]func(int64, string) error{
		"retry-dead":       c.RetryDeadJob,
		"delete-dead":      c.DeleteDeadJob,
		"delete-scheduled": c.DeleteScheduledJob,
		"delete-retry":     c.DeleteRetryJob,
	}
	if do := byID[op]; do != nil {
		if len(args) != 3 {
			return nil, fmt.Errorf("%s needs ID SCORE", op)
		}
		score, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return nil, err
		}
		return statusReply{"ok"}, do(score, args[1])
	}

	switch op {
	case "queues":
		return c.Queues()
	case "pools":
		return c.WorkerPoolHeartbeats()
	case "observations":
		return c.WorkerObservations()
	case "scheduled":
		jobs, count, err := c.ScheduledJobs(page)
		return pageReply{count, jobs}, err
	case "retry":
		jobs, count, err := c.RetryJobs(page)
		return pageReply{count, jobs}, err
	case "dead":
		jobs, count, err := c.DeadJobs(page)
		return pageReply{count, jobs}, err
	case "retry-all-dead":
		return statusReply{"ok"}, c.RetryAllDeadJobs()
	case "delete-all-dead":
		return statusReply{"ok"}, c.DeleteAllDeadJobs()
	}
	return nil, fmt.Errorf("unknown operation %q", op)
}
