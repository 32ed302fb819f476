package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/contribsys/faktory/cli"
	"github.com/contribsys/faktory/client"
	"github.com/contribsys/faktory/manager"
	"github.com/contribsys/faktory/server"
	"github.com/contribsys/faktory/storage"
	"github.com/contribsys/faktory/util"
	"github.com/contribsys/faktory/webui"
	"github.com/redis/go-redis/v9"
)

// serve is the server's own program, which in addition listens to its input: see order. It ends with its input.
//
// With -still its scanners do not run by themselves: what is due is moved when a test says what time it is.
// With -wait a FETCH that finds nothing waits for this long, instead of two seconds.
func serve() {
	still := flag.Bool("still", false, "move what is due only when told")
	wait := flag.Duration("wait", 0, "how long a FETCH waits; 0: as the server does")
	options := cli.ParseArguments()
	util.InitLogger(options.LogLevel)
	s, stop, err := cli.BuildServer(&options)
	check(err)
	check(s.Boot())
	if *still {
		close(s.Stopper()) // nobody but the scanners listens to it here
	}
	if *wait > 0 {
		s.Manager().SetFetcher(&hasty{s.Manager().Redis(), *wait})
	}
	s.Register(webui.Subsystem(options.WebBinding))
	go func() { check(s.Run()) }()

	ended := make(chan os.Signal, 2)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	go func() {
		input := bufio.NewScanner(os.Stdin)
		for input.Scan() {
			say(order(s, strings.Fields(input.Text())))
		}
		ended <- syscall.SIGTERM
	}()
	<-ended
	s.Stop(nil)
	check(stop())
}

// order carries out what a test wants of the server beside its protocol.
//
//	turn AT RETRY END    moves what is scheduled until AT, retries until RETRY, and reservations that end until END;
//	                     all in Unix seconds
//	release JID          ends a reservation, as if the job were done
//	empty                the server as it was at first
func order(s *server.Server, words []string) any {
	switch words[0] {
	case "turn":
		return turn(s.Manager(), moment(words[1]), moment(words[2]), moment(words[3]))
	case "release":
		_, err := s.Manager().Acknowledge(context.Background(), words[1])
		check(err)
		return true
	case "empty":
		return empty(s)
	}
	return nil
}

// turn answers how many jobs came into their queues. What the reaper puts off is not due at once.
func turn(m manager.Manager, at, retry, end time.Time) int64 {
	ctx := context.Background()
	scheduled, err := m.EnqueueScheduledJobs(ctx, at)
	check(err)
	again, err := m.RetryJobs(ctx, retry)
	check(err)
	_, err = m.ReapExpiredJobs(ctx, end)
	check(err)
	return scheduled + again
}

// empty also forgets what FLUSH leaves in the memory of the server: reservations, and the names of queues.
func empty(s *server.Server) bool {
	ctx := context.Background()
	var lent []string
	check(s.Store().Working().Each(ctx, func(_ int, entry storage.SortedEntry) error {
		var reservation manager.Reservation
		err := json.Unmarshal(entry.Value(), &reservation)
		if err == nil && reservation.Job != nil {
			lent = append(lent, reservation.Job.Jid)
		}
		return err
	}))
	for _, jid := range lent {
		_, err := s.Manager().Acknowledge(ctx, jid)
		check(err)
	}
	var names []string
	s.Store().EachQueue(ctx, func(q storage.Queue) { names = append(names, q.Name()) })
	for _, name := range names {
		check(s.Manager().RemoveQueue(ctx, name))
	}
	check(s.Store().Flush(ctx))
	return true
}

func moment(text string) time.Time {
	seconds, err := strconv.ParseFloat(text, 64)
	check(err)
	return time.UnixMicro(int64(seconds * 1e6))
}

// hasty fetches as the server does, with another time to wait.
type hasty struct {
	redis *redis.Client
	wait  time.Duration
}

func (h *hasty) Fetch(ctx context.Context, _ string, queues ...string) (manager.Lease, error) {
	command := []any{"brpop"}
	for _, queue := range queues {
		command = append(command, "q:"+queue)
	}
	found, err := h.redis.Do(ctx, append(command, fmt.Sprint(h.wait.Seconds()))...).StringSlice()
	if err == redis.Nil {
		return manager.Nothing, nil
	}
	if err != nil {
		return nil, err
	}
	return &lease{payload: []byte(found[1])}, nil
}

type lease struct {
	payload []byte
	job     *client.Job
}

func (l *lease) Release() error { return nil }

func (l *lease) Payload() []byte { return l.payload }

func (l *lease) Job() (*client.Job, error) {
	if l.job == nil {
		l.job = &client.Job{}
		if err := json.Unmarshal(l.payload, l.job); err != nil {
			return nil, err
		}
	}
	return l.job, nil
}
