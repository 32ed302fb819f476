package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/benmanns/goworker"
)

type event struct {
	Event string `json:"event"`
}

type startEvent struct {
	Event string        `json:"event"`
	Class string        `json:"class"`
	Queue string        `json:"queue"`
	Args  []interface{} `json:"args"`
}

// enough is closed when stdin ends: then handlers of "long" return.
var enough = make(chan struct{})

// classes are the job types, by name; the one called "stray" is left to others.
var classes = map[string]func() error{
	"mixed": func() error { return nil },
	"boom":  func() error { return errors.New("boom <x> é") },
	"panic": func() error { panic("boom <x> é") },
	"long": func() error {
		<-enough
		return nil
	},
}

func runWork(argv []string) {
	settings := goworker.WorkerSettings{IntervalFloat: 0.05}
	fs := newFlags("work", &settings)
	fs.StringVar(&settings.QueuesString, "queues", "", "a,b or a=2,b=1")
	fs.IntVar(&settings.Concurrency, "concurrency", 2, "workers")
	fs.IntVar(&settings.Connections, "connections", 2, "to Redis")
	fs.BoolVar(&settings.UseNumber, "use-number", false, "keep all digits of numbers")
	fs.Parse(argv)
	use(settings)

	for class, behave := range classes {
		goworker.Register(class, handler(class, behave))
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM) // goworker lets a second one end the process at once
	go stopAtEnd()
	emit(event{"ready"})
	if err := goworker.Work(); err != nil {
		fatal(err)
	}
	emit(event{"stopped"})
}

func handler(class string, behave func() error) func(string, ...interface{}) error {
	return func(queue string, args ...interface{}) error {
		emit(startEvent{"start", class, queue, args})
		defer emit(event{"end"})
		return behave()
	}
}

// stopAtEnd ends the worker, as a signal would, when stdin does, so that it cannot outlive the test that started it.
func stopAtEnd() {
	io.Copy(io.Discard, os.Stdin)
	close(enough)
	stop()
}

func stop() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		fatal(err)
	}
}
