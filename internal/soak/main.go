// Command soak runs the exporter's binary for long, between lakeFS stand-ins
// behind proxies that misbehave at random, while it is scraped, probed, reloaded
// and told of imports. It holds every answer against what the stand-ins know,
// and in the end the exporter's size against what it was at the beginning.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		length = flags.Duration("for", 20*time.Minute, "How long to go on.")
		seed   = flags.Uint64("seed", 0, "What the faults depend on, if not 0.")
		race   = flags.Bool("race", false, "Build the exporter with the race detector.")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	s := &soak{seed: cmp.Or(*seed, rand.Uint64()), imports: map[key]life{}, troubles: map[string]trouble{}, registered: map[key]registration{}}
	fmt.Fprintf(stdout, "seed %d, for %s\n", s.seed, *length)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return s.run(ctx, *length, *race, stdout)
}
