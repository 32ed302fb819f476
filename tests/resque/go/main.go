// Command goresque drives the real goworker library: for interoperability tests, and as a yardstick.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/benmanns/goworker"
)

// stdout is the real standard output. goworker logs to os.Stdout, which would
// break the line protocol, so main points that at stderr.
var stdout io.Writer = os.Stdout

var stdoutMu sync.Mutex

// emit writes one JSON line in a single unbuffered write.
func emit(v interface{}) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		fatal(err)
	}
	stdoutMu.Lock()
	defer stdoutMu.Unlock()
	if _, err := io.WriteString(stdout, b.String()); err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "goresque:", err)
	os.Exit(1)
}

// newFlags fills settings with what every subcommand takes.
func newFlags(name string, settings *goworker.WorkerSettings) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ExitOnError)
	fs.StringVar(&settings.URI, "redis", "redis://localhost:6379/", "redis:// URL")
	fs.StringVar(&settings.Namespace, "ns", "resque:", "namespace, with its colon")
	return fs
}

// use makes the settings those of the library, which would read the command line itself otherwise.
func use(settings goworker.WorkerSettings) {
	if err := flag.CommandLine.Parse(nil); err != nil {
		fatal(err)
	}
	goworker.SetSettings(settings)
}

func main() {
	os.Stdout = os.Stderr
	commands := map[string]func([]string){
		"enqueue": runEnqueue,
		"work":    runWork,
		"drain":   runDrain,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: goresque enqueue|work|drain [flags]")
		os.Exit(2)
	}
	commands[os.Args[1]](os.Args[2:])
}
