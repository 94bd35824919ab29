package lakefs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"

	"lakefs_import_exporter/lakefs"
)

// No import gets what a server sends after the answer for another. Without surplus,
// about 50 of these do.
func TestSurplusAnswers(t *testing.T) {
	log.SetOutput(io.Discard) // net/http has much to say
	defer log.SetOutput(os.Stderr)
	client := newClient(t, answerTwice(t))
	var polls sync.WaitGroup
	for worker := range 16 {
		polls.Go(func() {
			for n := range 250 {
				ref := someRef
				ref.ID = strconv.Itoa(1000*worker + n)
				status, err := client.ImportStatus(t.Context(), ref)
				var e *lakefs.Error
				switch {
				case err == nil && strconv.FormatInt(*status.IngestedObjects, 10) != ref.ID:
					t.Errorf("import %s got the status of another", ref.ID)
				case err != nil && (!errors.As(err, &e) || e.Kind != lakefs.BadResponse):
					t.Error(err)
				}
			}
		})
	}
	polls.Wait()
}

// answerTwice is a server that answers every request twice in one write: with the
// ID of the import as the count of objects, and with another count.
func answerTwice(t *testing.T) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		conns.Wait()
	})
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				requests := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(requests)
					if err != nil {
						return
					}
					var answers []byte
					for _, count := range []string{req.FormValue("id"), "1000000"} {
						body := `{"completed":false,"ingested_objects":` + count + `,"update_time":"2026-11-22T10:50:49Z"}`
						answers = fmt.Appendf(answers, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					}
					_, _ = conn.Write(answers)
				}
			})
		}
	})
	return "http://" + listener.Addr().String()
}
