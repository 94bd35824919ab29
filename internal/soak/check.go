package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// run is the whole of it. The error says what was wrong.
func (s *soak) run(ctx context.Context, length time.Duration, race bool, w io.Writer) (err error) {
	if s.dir, err = os.MkdirTemp("", "soak"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.start(race, length); err != nil {
		return err
	}
	loaded, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var load sync.WaitGroup
	stream := uint64(0)
	begin := func(ctx context.Context, work func(context.Context, *rand.Rand), wait *sync.WaitGroup) {
		stream++
		random := rand.New(rand.NewPCG(s.seed, stream))
		wait.Go(func() { work(ctx, random) })
	}
	for _, at := range s.lakeFS[1:] { // the first is always well
		begin(loaded, func(ctx context.Context, random *rand.Rand) { s.misbehave(ctx, random, at) }, &load)
	}
	for range 4 {
		begin(loaded, s.register, &load)
	}
	begin(loaded, s.reload, &load)
	begin(loaded, s.look, &load)
	watched, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	for range 3 {
		begin(watched, s.scrape, &watch)
	}
	begin(watched, s.measure, &watch)
	load.Wait()
	// The scrapes go on until what trouble was left must have passed.
	if ctx.Err() == nil {
		<-time.After(2 * aftermath)
	}
	stop()
	watch.Wait()
	return s.judge(w)
}

// scrape scrapes as Prometheus does, but more often, and checks what comes.
func (s *soak) scrape(ctx context.Context, random *rand.Rand) {
	newest := map[key]float64{}
	for pause(ctx, random, 2*time.Second) {
		begin := time.Now()
		body, err := s.metrics()
		if err != nil {
			s.complain("scrape: %v", err)
			continue
		}
		found := s.checkSeries(body, begin)
		s.checkScrape(found, newest, begin)
	}
}

// metrics returns the answer to a scrape.
func (s *soak) metrics() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.exporter.URL+"/metrics", http.NoBody)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(scrapeTimeout.Seconds()))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return string(body), err
}

// found is what an answer says: the values of imports by metric, and those of
// everything else by name and label server.
type found struct {
	imports map[key]map[string]float64
	others  map[string]float64
}

// read returns what stands in an answer.
func read(body string) (found, error) {
	f := found{map[key]map[string]float64{}, map[string]float64{}}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	for name, family := range families {
		for _, m := range family.Metric {
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			k := key{label(m, "server"), label(m, "import_id")}
			if k.id == "" {
				f.others[name+k.server] = value
				continue
			}
			if f.imports[k] == nil {
				f.imports[k] = map[string]float64{}
			}
			f.imports[k][strings.TrimPrefix(name, "lakefs_import_")] = value
		}
	}
	return f, err
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// checkSeries holds every import in an answer to a request that began at a time
// against what its lakeFS knows.
func (s *soak) checkSeries(body string, begin time.Time) found {
	f, err := read(body)
	if err != nil {
		s.complain("not an exposition: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, got := range f.imports {
		s.counts.samples += len(got)
		l, ok := s.imports[k]
		answered, seen := got["last_status_timestamp_seconds"]
		if !ok || !seen {
			if !ok {
				s.complainLocked("%v is nobody's import", k)
			}
			continue
		}
		is := status{got["ingested_objects"], got["update_timestamp_seconds"], got["completed"], got["error"], got["canceled"]}
		if want, ok := l.at(is.updated); !ok || is != want {
			s.complainLocked("%v: got %+v, want %+v", k, is, want)
		}
		if is.updated < l.oldest(answered) {
			s.complainLocked("%v: at %.1f it was said to be updated at %.1f", k, answered, is.updated)
		}
		if got["poll_success"] == 1 && is.completed == 0 && answered < float64(begin.UnixMilli())/1e3-1.1 {
			s.complainLocked("%v: polled with success, but last at %.1f, before %s", k, answered, begin)
		}
	}
	return f
}

// checkScrape checks what must be in a scrape, and what must not. newest is what
// imports were updated at by the scrapes before.
func (s *soak) checkScrape(f found, newest map[key]float64, begin time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.scrapes++
	if goroutines := f.others["go_goroutines"]; goroutines > 0 {
		s.goroutines = goroutines
	}
	for k, got := range f.imports {
		updated, seen := got["update_timestamp_seconds"]
		if before, ok := newest[k]; ok && (!seen || updated < before) {
			s.complainLocked("%v: went back from %.1f to %.1f, %t", k, before, updated, seen)
		}
		_, known := newest[k]
		if seen {
			newest[k] = updated
		}
		if got["poll_success"] != 1 && known && !s.excused(k.server, begin) &&
			(s.imports[k].source != sometimes || !s.excused(sometimes, begin)) {
			s.complainLocked("%v: is not polled, although its lakeFS is well", k)
		}
	}
	for _, k := range s.permanent {
		if f.imports[k] == nil && (s.imports[k].source != sometimes || !s.excused(sometimes, begin)) {
			s.complainLocked("%v of %s is missing", k, s.imports[k].source)
		}
	}
	for k, r := range s.registered {
		there := f.imports[k] != nil
		if !there && !r.put.IsZero() && r.put.Before(begin) && r.deleted.IsZero() {
			s.complainLocked("%v was registered, and is missing", k)
		}
		if there && !r.gone.IsZero() && r.gone.Before(begin) {
			s.complainLocked("%v was unregistered, and is there", k)
		}
	}
	for _, at := range s.lakeFS {
		if f.others["lakefs_up"+at.name] != 1 && !s.excused(at.name, begin) {
			s.complainLocked("%s is well, and said to be down", at.name)
		}
	}
}

// size is how much the exporter takes.
type size struct{ goroutines, files, resident float64 }

// measure looks at the size of the exporter from time to time.
func (s *soak) measure(ctx context.Context, random *rand.Rand) {
	for pause(ctx, random, 2*time.Second) {
		resident, err := s.exporter.Memory("VmRSS")
		if err != nil {
			s.complain("%v", err)
		}
		files, err := s.exporter.Files()
		if err != nil {
			s.complain("%v", err)
		}
		s.mu.Lock()
		s.sizes = append(s.sizes, size{s.goroutines, float64(files), resident / 1e6})
		s.mu.Unlock()
	}
}

// typical returns the medians of sizes.
func typical(sizes []size) size {
	median := func(of func(size) float64) float64 {
		values := make([]float64, len(sizes))
		for i, is := range sizes {
			values[i] = of(is)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return size{
		median(func(s size) float64 { return s.goroutines }),
		median(func(s size) float64 { return s.files }),
		median(func(s size) float64 { return s.resident }),
	}
}

// judge says what there was. The error says what was wrong with it.
func (s *soak) judge(w io.Writer) error {
	fmt.Fprintf(w, "%+v\n", s.counts)
	// The first tenth is for what grows once: connections, buffers, pools.
	sizes := s.sizes[len(s.sizes)/10:]
	third := len(sizes) / 3
	if third == 0 {
		return errors.New("too short to tell")
	}
	first, last := typical(sizes[:third]), typical(sizes[2*third:])
	fmt.Fprintf(w, "medians of the first third: %+v\nmedians of the last third: %+v\n", first, last)
	const someConnections, someMB = 25, 10
	if last.goroutines > first.goroutines+2*someConnections || last.files > first.files+someConnections ||
		last.resident > 1.2*first.resident+someMB {
		s.complain("the exporter grows")
	}
	if len(s.wrong) > 0 {
		return fmt.Errorf("%d things were wrong:\n%s", len(s.wrong), strings.Join(s.wrong[:min(len(s.wrong), 50)], "\n"))
	}
	fmt.Fprintln(w, "flat, and no wrong sample")
	return nil
}
