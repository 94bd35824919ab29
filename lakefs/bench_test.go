package lakefs_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// BenchmarkImportStatus compares the client with the same GETs of a bare
// http.Client. The CPU time is that of client and server.
func BenchmarkImportStatus(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, running)
	}))
	defer server.Close()
	client := newClient(b, server.URL)
	bare := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}}
	defer bare.CloseIdleConnections()
	for name, get := range map[string]func(context.Context) error{
		"client": func(ctx context.Context) error {
			_, err := client.ImportStatus(ctx, someRef)
			return err
		},
		"bare": func(ctx context.Context) error {
			u := server.URL + "/api/v1/repositories/my-repo/branches/main/import?id=" + someRef.ID
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, http.NoBody)
			if err != nil {
				return err
			}
			req.SetBasicAuth("key", "secret")
			resp, err := bare.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32 / runtime.GOMAXPROCS(0))
			before := cpuTime()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := get(b.Context()); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpuTime() int64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}
