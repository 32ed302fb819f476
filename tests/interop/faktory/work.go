package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"strings"

	faktory "github.com/contribsys/faktory/client"
	worker "github.com/contribsys/faktory_worker_go"
)

// work runs jobs, and prints each as it came, until its input ends.
//
// Those of -types succeed; a job of the type "fail" fails, and one of the type "once" does so at its first run.
func work() {
	types := flag.String("types", "send", "job types that succeed, separated by commas")
	queues := flag.String("queues", "default", "queues in strict order, separated by commas")
	concurrency := flag.Int("concurrency", 10, "jobs at once")
	flag.Parse()

	manager := worker.NewManager()
	manager.Concurrency = *concurrency
	manager.ProcessStrictPriorityQueues(strings.Split(*queues, ",")...)
	manager.Use(func(_ context.Context, job *faktory.Job, _ func(context.Context) error) error {
		var failure error
		if job.Type == "fail" || job.Type == "once" && job.Failure == nil {
			failure = errors.New("Go says no")
		}
		say(map[string]any{"job": job, "failed": failure != nil})
		return failure
	})
	for _, name := range append(strings.Split(*types, ","), "fail", "once") {
		manager.Register(name, nil) // the middleware does it all
	}

	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	check(manager.RunWithContext(ctx))
}
