package main

import (
	"syscall"
	"time"
	"unsafe"

	"github.com/gocraft/work"
)

type feedResult struct {
	Jobs int `json:"jobs"`
}

// feed enqueues jobs that tell when they were sent, at an even rate, for a worker of somebody else. Late ones are not
// made up for, so that they stay apart.
func feed(c *config) (interface{}, error) {
	pause := time.Second / time.Duration(c.rate)
	enqueuer := work.NewEnqueuer(c.ns, newRedisPool(c.redis, 1))
	for i := 0; i < c.jobs; i++ {
		due := time.Now().Add(pause)
		if _, err := enqueuer.Enqueue("stamp", work.Q{"sent": monotonic()}); err != nil {
			return nil, err
		}
		time.Sleep(time.Until(due))
	}
	return feedResult{c.jobs}, nil
}

// clockMonotonic is Linux's number of the clock that runs since the machine was started.
const clockMonotonic = 1

// monotonic answers in nanoseconds, as Python's time.monotonic_ns does in other processes; time.Now keeps it to itself.
func monotonic() int64 {
	var at syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&at)), 0)
	return at.Nano()
}
