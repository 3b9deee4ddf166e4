package icinga

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// BenchmarkSubmit compares the Sink, alone and followed, with the least that a
// client can do: as many connections, requests written by hand, answers barely
// read. Icinga's CPU is the limit, so they take turns on one daemon. Each result
// of "changing" is another state, which has to be asked for.
func BenchmarkSubmit(b *testing.B) {
	objects := fleet(1000)
	ic := realtest.StartIcinga(b, realtest.IcingaOptions{Objects: objects})
	g := newGateway(b, configOf(ic))
	g.start()
	batch := make([]checks.Result, len(objects))
	for i, o := range objects {
		batch[i] = checks.Result{Object: o, Reason: "DISK OK - 42% used", Perfdata: "/=42%;90;95;0;100"}
	}
	g.deliver(batch...)
	bare := dialBare(b, ic, Defaults().Connections)

	deliver := func(b *testing.B, change bool) {
		before := cpu(b)
		for n := b.N; n > 0; n -= len(batch) {
			for i := range batch {
				batch[i].State = checks.OK
				if change && n/len(batch)%2 == 0 {
					batch[i].State = checks.Critical
				}
			}
			g.deliver(batch[:min(n, len(batch))]...)
		}
		report(b, before)
	}
	for round := range 3 {
		for name, change := range map[string]bool{"sink": false, "changing": true} {
			b.Run(fmt.Sprintf("%s-%d", name, round), func(b *testing.B) { deliver(b, change) })
			b.Run(fmt.Sprintf("%s-followed-%d", name, round), func(b *testing.B) {
				w := newWatcher(b)
				stop := g.followWith(w)
				w.ready(1)
				b.ResetTimer()
				deliver(b, change)
				stop()
			})
		}
		b.Run(fmt.Sprintf("bare-%d", round), func(b *testing.B) {
			before := cpu(b)
			for n := b.N; n > 0; n -= len(batch) {
				bare.submit(b, g.accept(batch[:min(n, len(batch))]...))
			}
			report(b, before)
		})
	}
}

// report says how fast it went, and what it cost this process.
func report(b *testing.B, before time.Duration) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "results/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/result")
}

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// A bareClient is keep-alive connections and no more.
type bareClient struct {
	header string
	conns  []*tls.Conn
}

func dialBare(b *testing.B, ic *realtest.Icinga, n int) *bareClient {
	b.Helper()
	cfg := configOf(ic)
	t, err := cfg.tls()
	if err != nil {
		b.Fatal(err)
	}
	a := account{cfg: cfg}
	if err := a.load(); err != nil {
		b.Fatal(err)
	}
	addr := strings.TrimPrefix(ic.URL, "https://")
	c := &bareClient{header: fmt.Sprintf("POST /v1/actions/process-check-result HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nAuthorization: %s\r\nContent-Length: ",
		addr, a.header.Load().Get("Authorization"))}
	for range n {
		conn, err := tls.Dial("tcp", addr, t)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		c.conns = append(c.conns, conn)
	}
	return c
}

// submit deals batch out evenly over the connections.
func (c *bareClient) submit(b *testing.B, batch []checks.Result) {
	var wg sync.WaitGroup
	for n, conn := range c.conns {
		wg.Go(func() {
			reader := bufio.NewReader(conn)
			for i := n; i < len(batch); i += len(c.conns) {
				body, err := json.Marshal(submissionOf(&batch[i]))
				if err != nil {
					b.Error(err)
					return
				}
				if err := c.post(conn, reader, body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func (c *bareClient) post(conn *tls.Conn, reader *bufio.Reader, body []byte) error {
	if _, err := fmt.Fprintf(conn, "%s%d\r\n\r\n%s", c.header, len(body), body); err != nil {
		return err
	}
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("icinga answered %s", resp.Status)
	}
	return nil
}
