// Command bench measures the exporter's binary over TCP: the time, CPU and
// memory of a scrape beside those of a bare HTTP client and of client_golang's
// const metrics, in the same run. It writes a table in Markdown.
//
// lakeFS is a trivial stand-in. Everything that is measured is a process of
// its own, so that none is charged for the work of another.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run does one part of the benchmark: the whole, or what one of its child
// processes is there for.
func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		smoke     = flags.Bool("smoke", false, "Do everything, but small: to see whether it works, not how fast.")
		only      = flags.String("only", "", "Measure no more than this: polling, latency, exposition, memory or many.")
		lakeFS    = flags.Bool("lakefs", false, "For child processes: be the stand-in for lakeFS.")
		finished  = flags.Bool("finished", false, "With -lakefs: have finished imports instead of running ones.")
		delay     = flags.Duration("delay", 0, "With -lakefs: answer so much later.")
		constants = flags.Int("const-metrics", 0, "For child processes: serve const metrics for so many imports.")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *lakeFS:
		return serve(stdout, standIn(*finished, *delay))
	case *constants > 0:
		return serve(stdout, constMetrics(*constants))
	}
	size := full
	if *smoke {
		size = small
	}
	return measure(size, *only, stdout, stderr)
}

// size is how much is measured.
type size struct {
	polled      int // running imports in the comparison with the bare client
	watched     int // imports in the others
	many        int // imports of a very large lakeFS
	repetitions int
	scrapes     int // before the memory is measured
	delay       time.Duration
}

var (
	full  = size{polled: 5_000, watched: 10_000, many: 100_000, repetitions: 9, scrapes: 100, delay: 20 * time.Millisecond}
	small = size{polled: 50, watched: 400, many: 800, repetitions: 2, scrapes: 4, delay: time.Millisecond}
)

// The load that the goals are about.
const (
	connections     = 32
	manyConnections = 200
	scrapers        = 10
)
