package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

// bench is one run of all measurements.
type bench struct {
	size
	binary   string // the exporter
	progress io.Writer
	rows     []row
	running  []*process
}

// row is a line of the table.
type row struct {
	work, goal, measured string
	met                  bool
}

func (b *bench) row(work, goal string, met bool, format string, args ...any) {
	b.rows = append(b.rows, row{work, goal, fmt.Sprintf(format, args...), met})
	fmt.Fprintf(b.progress, "%s: %s\n", work, b.rows[len(b.rows)-1].measured)
}

// measure measures everything, or only one part, and writes the table to w.
func measure(s size, only string, w, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{size: s, progress: progress}
	if b.binary, err = buildExporter(dir); err != nil {
		return err
	}
	for _, part := range []struct {
		name    string
		measure func() error
	}{{"polling", b.polling}, {"latency", b.latency}, {"exposition", b.exposition}, {"memory", b.memory}, {"many", b.veryMany}} {
		if only != "" && only != part.name {
			continue
		}
		if err := errors.Join(part.measure(), b.stopAll()); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	fmt.Fprintf(w, "%s, %d cores\n\n| work | goal | measured | met |\n|---|---|---|---|\n", runtime.Version(), runtime.NumCPU())
	for _, r := range b.rows {
		met := "yes"
		switch {
		case s == small:
			met = "too small to tell"
		case !r.met:
			met = "**no**"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r.work, r.goal, r.measured, met)
	}
	return nil
}

// stopAll ends the processes of a part, the youngest first.
func (b *bench) stopAll() error {
	var errs []error
	for _, p := range slices.Backward(b.running) {
		errs = append(errs, p.stop())
	}
	b.running = nil
	return errors.Join(errs...)
}

func (b *bench) started(p *process, err error) (*process, error) {
	if err == nil {
		b.running = append(b.running, p)
	}
	return p, err
}

// watch starts a stand-in for lakeFS and an exporter, and waits until that watches
// n imports: it may still read their files when it is ready.
func (b *bench) watch(n, maxRequests int, standIn ...string) (lakeFS, exporter *process, err error) {
	lakeFS, err = b.started(startChild(append([]string{"-lakefs"}, standIn...)...))
	if err != nil {
		return nil, nil, err
	}
	exporter, err = b.started(startExporter(b.binary, lakeFS.URL, n, maxRequests))
	for watched := 0; err == nil && watched < n; rest() {
		a, failed := scrape(exporter, asPrometheus)
		if failed != nil {
			return nil, nil, failed
		}
		sums, failed := a.sums()
		watched, err = int(sums["lakefs_import_exporter_imports"].value), failed
	}
	return lakeFS, exporter, err
}

// rest waits until every import is due again: the exporter polls none twice in
// a second.
func rest() { <-time.After(1100 * time.Millisecond) }

// polling compares a scrape that polls with the same GETs by a bare client.
func (b *bench) polling() error {
	n := b.polled
	lakeFS, exporter, err := b.watch(n, connections)
	if err != nil {
		return err
	}
	var bare, scrapes, bareCPU, cpu, bareBoth, both []time.Duration
	for i := range b.repetitions + 1 {
		rest()
		served, err := lakeFS.cpu()
		if err != nil {
			return err
		}
		bareWall, bareUsed, err := bareGETs(lakeFS.URL, n, connections)
		if err != nil {
			return err
		}
		servedBare, err := lakeFS.cpu()
		if err != nil {
			return err
		}
		rest()
		before, err := exporter.cpu()
		if err != nil {
			return err
		}
		a, err := checkedScrape(exporter, asPrometheus, n, false)
		if err != nil {
			return err
		}
		after, err := exporter.cpu()
		if err != nil {
			return err
		}
		servedAll, err := lakeFS.cpu()
		if err != nil {
			return err
		}
		if i == 0 {
			continue // connections are made, memory is got
		}
		bare, scrapes = append(bare, bareWall), append(scrapes, a.took)
		bareCPU, cpu = append(bareCPU, bareUsed), append(cpu, after-before)
		bareBoth = append(bareBoth, bareUsed+servedBare-served)
		both = append(both, after-before+servedAll-servedBare)
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	ratio := float64(median(scrapes)) / float64(median(bare))
	b.row(fmt.Sprintf("scrape of %d running imports, all polled over %d connections, beside the same GETs by a bare client: wall", n, connections),
		"at most 1.5 ×", ratio <= 1.5, "%.2f × (%.0f µs an import, bare %.0f µs); by the CPU time of both ends %.2f ×",
		ratio, each(median(scrapes)), each(median(bare)), float64(mean(both))/float64(mean(bareBoth)))
	ratio = float64(mean(cpu)) / float64(mean(bareCPU))
	b.row("the same: own CPU, exposition included", "at most 1.5 ×", ratio <= 1.5, "%.2f × (%.0f µs an import, bare %.0f µs)",
		ratio, each(mean(cpu)), each(mean(bareCPU)))
	return nil
}

// latency compares a scrape of a lakeFS that takes its time with the ideal, and
// with what a bare client makes of it on the same machine.
func (b *bench) latency() error {
	n := b.watched
	lakeFS, exporter, err := b.watch(n, manyConnections, "-delay="+b.delay.String())
	if err != nil {
		return err
	}
	var bare, scrapes []time.Duration
	for range b.repetitions + 1 {
		rest()
		wall, _, err := bareGETs(lakeFS.URL, n, manyConnections)
		if err != nil {
			return err
		}
		rest()
		a, err := checkedScrape(exporter, asPrometheus, n, false)
		if err != nil {
			return err
		}
		bare, scrapes = append(bare, wall), append(scrapes, a.took)
	}
	took, client := median(scrapes[1:]), median(bare[1:])
	ratio := float64(took) / float64(client)
	b.row(fmt.Sprintf("scrape of %d running imports, %s delay at lakeFS, %d connections, beside the same GETs by a bare client", n, b.delay, manyConnections),
		"at most 1.12 ×", ratio <= 1.12, "%.2f × (%s, bare %s)", ratio, milliseconds(took), milliseconds(client))
	return nil
}

// exposition compares scrapes that poll nothing with client_golang's const metrics.
func (b *bench) exposition() error {
	n := b.watched
	lakeFS, exporter, err := b.watch(n, connections, "-finished")
	if err != nil {
		return err
	}
	constants, err := b.started(startChild("-const-metrics=" + strconv.Itoa(n)))
	if err != nil {
		return err
	}
	for range 2 { // a second answer confirms that an import has finished
		if _, err := checkedScrape(exporter, plainText, n, true); err != nil {
			return err
		}
		rest()
	}
	for _, f := range []form{plainText, asPrometheus} {
		own := sampled{check: func(sums map[string]sum) error { return check(sums, n, true) }}
		other := sampled{check: func(sums map[string]sum) error { return checkSeries(sums, finishedSeries, n) }}
		for range b.repetitions + 2 {
			if err := own.scrape(exporter, f); err != nil {
				return err
			}
			if err := other.scrape(constants, f); err != nil {
				return err
			}
		}
		work := fmt.Sprintf("scrape of %d finished imports (%d samples), %s, beside const metrics", n, n*len(finishedSeries), f.name)
		ours, theirs := median(own.took), median(other.took)
		ratio := float64(ours) / float64(theirs)
		b.row(work, "at most 0.1 of the time", ratio <= 0.1, "%.3f (%s, const metrics %s)", ratio, milliseconds(ours), milliseconds(theirs))
	}
	polls, err := requests(lakeFS)
	if err == nil && polls != 2*n {
		err = fmt.Errorf("%d finished imports were polled %d times", n, polls)
	}
	return err
}

// sampled are the times of scrapes.
type sampled struct {
	check func(map[string]sum) error
	took  []time.Duration
}

// scrape adds a scrape.
func (s *sampled) scrape(p *process, f form) error {
	rest()
	runtime.GC() // here, or else beside what is measured
	a, err := scrape(p, f)
	if err != nil {
		return err
	}
	sums, err := a.sums()
	if err != nil {
		return err
	}
	s.took = append(s.took, a.took)
	return s.check(sums)
}

// memory measures the resident memory after many scrapes, and while many
// scrape at once.
func (b *bench) memory() error {
	lakeFS, exporter, err := b.watch(b.watched, connections)
	if err != nil {
		return err
	}
	if err := b.crowd(lakeFS, exporter); err != nil {
		return err
	}
	if err := b.stopAll(); err != nil {
		return err
	}
	return b.resident(b.watched, 60)
}

// veryMany measures a very large lakeFS.
func (b *bench) veryMany() error {
	if err := b.resident(b.many, 300); err != nil {
		return err
	}
	if err := b.stopAll(); err != nil {
		return err
	}
	_, exporter, err := b.watch(b.many, connections)
	if err != nil {
		return err
	}
	var took []time.Duration
	for range 3 {
		rest()
		a, err := checkedScrape(exporter, asPrometheus, b.many, false)
		if err != nil {
			return err
		}
		took = append(took, a.took)
	}
	b.row(fmt.Sprintf("scrape of %d running imports", b.many), "at most 6 s", median(took) <= 6*time.Second, "%s", milliseconds(median(took)))
	return nil
}

// resident measures the resident memory of an exporter that watches n finished
// imports.
func (b *bench) resident(n, goal int) error {
	_, exporter, err := b.watch(n, connections, "-finished")
	if err != nil {
		return err
	}
	for i := range b.scrapes {
		if i < 3 {
			rest()
		}
		if _, err := scrape(exporter, asPrometheus); err != nil {
			return err
		}
	}
	if _, err := checkedScrape(exporter, asPrometheus, n, true); err != nil {
		return err
	}
	now, peak, err := exporter.memory()
	if err != nil {
		return err
	}
	const mb = 1e6
	b.row(fmt.Sprintf("resident memory with %d finished imports, %d scrapes", n, b.scrapes), fmt.Sprintf("at most %d MB", goal),
		now <= float64(goal)*mb, "%.0f MB (at most %.0f MB)", now/mb, peak/mb)
	return nil
}

// crowd looks at many scrapers at once, beside one that has stopped reading.
func (b *bench) crowd(lakeFS, exporter *process) error {
	rest()
	stopped, err := stoppedReader(exporter)
	if err != nil {
		return err
	}
	defer stopped.Close()
	var (
		alone, together []time.Duration
		polls           []int
	)
	for range b.repetitions {
		for _, at := range []int{1, scrapers} {
			rest()
			before, err := requests(lakeFS)
			if err != nil {
				return err
			}
			answers, err := scrapeAtOnce(exporter, at)
			if err != nil {
				return err
			}
			after, err := requests(lakeFS)
			if err != nil {
				return err
			}
			slowest := slices.MaxFunc(answers, func(a, b answer) int { return cmp.Compare(a.took, b.took) }).took
			if at == 1 {
				alone = append(alone, slowest)
			} else {
				together = append(together, slowest)
				polls = append(polls, after-before)
			}
			for _, a := range answers {
				sums, err := a.sums()
				if err == nil {
					err = check(sums, b.watched, false)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	_, highest, err := exporter.memory()
	if err != nil {
		return err
	}
	work := fmt.Sprintf("%d scrapers at once, and one that has stopped reading: ", scrapers)
	b.row(work+"polls", "those of one", slices.Max(polls) == b.watched, "%d, of one %d", slices.Max(polls), b.watched)
	b.row(work+"resident memory", "under 120 MB", highest < 120e6, "%.0f MB at most", highest/1e6)
	ratio := float64(median(together)) / float64(median(alone))
	b.row(work+"the slowest of the ten", "at most 2 × one alone", ratio <= 2, "%.2f × (%s)", ratio, milliseconds(median(together)))
	return nil
}

func scrapeAtOnce(p *process, n int) ([]answer, error) {
	var (
		answers = make([]answer, n)
		errs    = make([]error, n)
		all     sync.WaitGroup
	)
	for i := range n {
		all.Go(func() { answers[i], errs[i] = scrape(p, asPrometheus) })
	}
	all.Wait()
	return answers, errors.Join(errs...)
}

func median[T cmp.Ordered](values []T) T {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

func mean(values []time.Duration) time.Duration {
	var total time.Duration
	for _, v := range values {
		total += v
	}
	return total / time.Duration(len(values))
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/1e6) }
