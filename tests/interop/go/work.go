package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gocraft/work"
)

type event struct {
	Event string `json:"event"`
}

type startEvent struct {
	Event  string                 `json:"event"`
	Name   string                 `json:"name"`
	ID     string                 `json:"id"`
	Args   map[string]interface{} `json:"args"`
	Fails  int64                  `json:"fails"`
	T      int64                  `json:"t"`
	Unique bool                   `json:"unique"`
}

type endEvent struct {
	Event string  `json:"event"`
	Name  string  `json:"name"`
	ID    string  `json:"id"`
	Error *string `json:"error"`
}

// context is empty; the library insists on a struct type.
type context struct{}

func runWork(argv []string) {
	fs, c := newFlags("work")
	concurrency := fs.Uint("concurrency", 2, "workers")
	jobs := fs.String("jobs", "", "name[:maxfails[:priority[:maxconcurrency]]],...")
	skipDead := fs.String("skip-dead", "", "names whose exhausted jobs are dropped, comma-separated")
	backoff := fs.Int64("backoff", -1, "constant backoff in seconds; negative: the library's own")
	periodic := fs.String("periodic", "", "SPEC=NAME;...")
	fs.Parse(argv)

	// Each worker may hold a connection, and its observer another.
	size := 2*int(*concurrency) + 10
	pool := work.NewWorkerPool(context{}, *concurrency, c.ns, newRedisPool(c.redis, size))

	skip := map[string]bool{}
	for _, name := range strings.Split(*skipDead, ",") {
		skip[name] = true
	}
	for _, item := range splitList(*jobs, ",") {
		name, opts, err := parseJob(item)
		if err != nil {
			fatal(err)
		}
		opts.SkipDead = skip[name]
		if *backoff >= 0 {
			opts.Backoff = func(*work.Job) int64 { return *backoff }
		}
		pool.JobWithOptions(name, opts, handle)
	}
	for _, item := range splitList(*periodic, ";") {
		spec, name, err := parsePeriodic(item)
		if err != nil {
			fatal(err)
		}
		pool.PeriodicallyEnqueue(spec, name)
	}

	stop := stopRequested()
	pool.Start()
	emit(event{"ready"})
	<-stop
	pool.Stop()
	emit(event{"stopped"})
}

// stopRequested reports the end of stdin, so that the pool cannot outlive the
// test that started it, or a signal.
func stopRequested() <-chan struct{} {
	stop := make(chan struct{}, 2)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		stop <- struct{}{}
	}()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop <- struct{}{}
	}()
	return stop
}

func handle(job *work.Job) error {
	emit(startEvent{"start", job.Name, job.ID, job.Args, job.Fails, job.EnqueuedAt, job.Unique})
	err := behave(job)
	end := endEvent{Event: "end", Name: job.Name, ID: job.ID}
	if err != nil {
		text := err.Error()
		end.Error = &text
	}
	emit(end)
	return err
}

// behave does what the job's arguments ask for. Numbers arrive as float64.
func behave(job *work.Job) error {
	if text, ok := job.Args["_checkin"].(string); ok {
		job.Checkin(text)
	}
	if ms, ok := job.Args["_sleep_ms"].(float64); ok {
		time.Sleep(time.Duration(ms * float64(time.Millisecond)))
	}
	if path, ok := job.Args["_until"].(string); ok {
		for _, err := os.Stat(path); err != nil; _, err = os.Stat(path) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if text, ok := job.Args["_fail"].(string); ok {
		return errors.New(text)
	}
	if n, ok := job.Args["_fail_times"].(float64); ok && float64(job.Fails) < n {
		return fmt.Errorf("failure %d of %d", job.Fails+1, int64(n))
	}
	return nil
}

func splitList(text, sep string) []string {
	var items []string
	for _, item := range strings.Split(text, sep) {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func parseJob(item string) (string, work.JobOptions, error) {
	var opts work.JobOptions
	parts := strings.Split(item, ":")
	targets := []*uint{&opts.MaxFails, &opts.Priority, &opts.MaxConcurrency}
	if len(parts) > len(targets)+1 {
		return "", opts, fmt.Errorf("bad job %q", item)
	}
	for i, text := range parts[1:] {
		if text == "" { // keep the library's default
			continue
		}
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return "", opts, fmt.Errorf("bad job %q: %v", item, err)
		}
		*targets[i] = uint(n)
	}
	return parts[0], opts, nil
}

// parsePeriodic splits at the last "=", since a spec may begin with TZ=.
func parsePeriodic(item string) (spec, name string, err error) {
	i := strings.LastIndex(item, "=")
	if i < 0 {
		return "", "", fmt.Errorf("bad periodic %q, want SPEC=NAME", item)
	}
	return item[:i], item[i+1:], nil
}
