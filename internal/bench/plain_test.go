package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/internal/loadgen"
	"checkbus/internal/realtest"
)

const (
	// plainTime is how long one load of plain messages lasts, and calmTime one
	// at calmRate messages a second.
	plainTime = time.Second
	calmTime  = 2 * time.Second
	calmRate  = 5000
	// idleClients is how many are connected to measure what one takes.
	idleClients = 1000
)

// A server is one of the two that are compared.
type server struct {
	name, addr string
	pid        int
}

func startServers(b *testing.B) []server {
	g := startGateway(b, "")
	m := realtest.StartMosquitto(b, "max_queued_messages 0") // by default it drops beyond 1,000
	return []server{{"checkbus", g.addr, g.pid}, {"Mosquitto", m.Addr, m.PID}}
}

// A plainLoad is a row of the table.
type plainLoad struct {
	publishers int
	qos        byte
	subscriber bool
}

func plainLoads() (all []plainLoad) {
	for _, subscriber := range []bool{false, true} {
		for _, qos := range []byte{0, 1} {
			for _, publishers := range []int{1, 10, 100} {
				all = append(all, plainLoad{publishers, qos, subscriber})
			}
		}
	}
	return all
}

// load publishes messages of 100 bytes that are no results.
func (p plainLoad) load(s server) loadgen.Load {
	l := loadgen.Load{
		Addr: s.addr, QoS: p.qos, Root: "plain", Connections: p.publishers, Window: 100,
		Hosts: 10, Services: 10, Duration: plainTime,
	}
	if p.publishers == 100 {
		l.Window = 20
	}
	if p.subscriber {
		l.Subscribe = "#"
	}
	return l
}

// A pair are the figures of checkbus and of Mosquitto, one a round.
type pair [2][]float64

func (p *pair) add(server int, value float64) { p[server] = append(p[server], value) }

// String is both medians, and the median of the ratios of each round with the
// least and the greatest.
func (p *pair) String() string {
	ratios := make([]float64, len(p[0]))
	for i := range ratios {
		ratios[i] = p[0][i] / p[1][i]
	}
	return fmt.Sprintf("%s | %s | %.2f (%.2f-%.2f)", short(median(p[0])), short(median(p[1])), median(ratios), slices.Min(ratios), slices.Max(ratios))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// short is a number with three digits or more.
func short(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// A table collects pairs by row, in the order in which they first came.
type table struct {
	title, rowTitle string
	names           []string
	rows            map[string]*pair
}

func newTable(rowTitle, title string) *table {
	return &table{title: title, rowTitle: rowTitle, rows: map[string]*pair{}}
}

func (t *table) row(name string) *pair {
	if t.rows[name] == nil {
		t.names = append(t.names, name)
		t.rows[name] = &pair{}
	}
	return t.rows[name]
}

// String is the table in Markdown, as the README has it.
func (t *table) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "| %s | checkbus: %s | Mosquitto | ratio |\n|---|---|---|---|\n", t.rowTitle, t.title)
	for _, name := range t.names {
		fmt.Fprintf(&s, "| %s | %v |\n", name, t.rows[name])
	}
	return s.String()
}

// BenchmarkPlainMessages compares checkbus with Mosquitto as a plain broker, in
// as many rounds as -benchtime says (3x), the two in turn, and prints tables.
func BenchmarkPlainMessages(b *testing.B) {
	const rowTitle = "publishers, QoS, subscriber to `#`"
	rates, cpu := newTable(rowTitle, "messages/s"), newTable(rowTitle, "CPU a message in us")
	delays, memories := newTable("5,000/s from 10 publishers to a subscriber", "ms"), newTable("an idle connection", "KB")
	for b.Loop() {
		servers := startServers(b)
		for i, s := range servers {
			memories.row("resident memory").add(i, idleMemory(b, s))
		}
		for _, p := range plainLoads() {
			name := fmt.Sprintf("%d, QoS %d, %s", p.publishers, p.qos, map[bool]string{false: "none", true: "one"}[p.subscriber])
			for i, s := range servers {
				rate, spent := runPlain(b, p, s)
				rates.row(name).add(i, rate)
				cpu.row(name).add(i, spent)
			}
		}
		for _, qos := range []byte{0, 1} {
			for i, s := range servers {
				delivery := runCalm(b, qos, s)
				for _, q := range []float64{0.5, 0.99} {
					delays.row(fmt.Sprintf("QoS %d, p%.0f", qos, 100*q)).add(i, float64(delivery.Quantile(q).Microseconds())/1000)
				}
			}
		}
	}
	for _, t := range []*table{rates, cpu, delays, memories} {
		fmt.Printf("\n%v\n", t)
	}
}

// runPlain returns messages a second, to the subscriber where there is one, and
// microseconds of processor time a message.
func runPlain(b *testing.B, p plainLoad, s server) (rate, cpu float64) {
	b.Helper()
	meter := newMeter(s.pid)
	report, err := p.load(s).Run(b.Context())
	if err != nil {
		b.Fatalf("%s: %v", s.name, err)
	}
	n := report.Acked
	if p.subscriber {
		n = report.Received
		if lost := report.Sent - n; lost > 0 {
			fmt.Printf("%s lost %d of %d messages: %+v\n", s.name, lost, report.Sent, p)
		}
	}
	return float64(n) / report.Elapsed.Seconds(), float64(meter.spent().Microseconds()) / float64(n)
}

// runCalm returns how long deliveries took at a rate that both can serve.
func runCalm(b *testing.B, qos byte, s server) *loadgen.Histogram {
	b.Helper()
	l := plainLoad{10, qos, true}.load(s)
	l.Rate, l.Duration = calmRate, calmTime
	report, err := l.Run(b.Context())
	if err != nil {
		b.Fatalf("%s: %v", s.name, err)
	}
	return &report.Delivery
}

// idleMemory returns how many KB a server takes more for each client that is
// connected and silent.
func idleMemory(b *testing.B, s server) float64 {
	b.Helper()
	before := memory(b, s.pid, "VmRSS")
	for i := range idleClients {
		conn, err := loadgen.Dial(b.Context(), s.addr, loadgen.Options{Client: fmt.Sprint("idle", i), Version: 4})
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
	}
	return (memory(b, s.pid, "VmRSS") - before) * 1000 / idleClients
}
