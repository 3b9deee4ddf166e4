package bench

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"checkbus/checks"
	"checkbus/internal/loadgen"
	"checkbus/internal/quickack"
	"checkbus/internal/realtest"
)

const (
	icingaHosts, icingaServices = 40, 10
	icingaObjects               = icingaHosts * icingaServices
	icingaConnections           = 8
)

func startIcinga(b *testing.B, hosts, services int) *realtest.Icinga {
	b.Helper()
	var objects []checks.Object
	for i := range hosts * services {
		objects = append(objects, checks.Object{Host: fmt.Sprintf("h%04d", i/services), Service: fmt.Sprintf("s%03d", i%services)})
	}
	return realtest.StartIcinga(b, realtest.IcingaOptions{Objects: objects})
}

// icingaObject is where the load generator publishes its i-th result.
func icingaObject(i int) checks.Object {
	i %= icingaObjects
	return checks.Object{Host: fmt.Sprintf("h%04d", i/icingaServices), Service: fmt.Sprintf("s%03d", i%icingaServices)}
}

func icingaSettings(ic *realtest.Icinga) string {
	return fmt.Sprintf("[icinga]\nurl = [%q]\nca = %q\nserver_name = %q\nusername = %q\npassword_file = %q\nconnections = %d\n",
		ic.URL, ic.CA, ic.ServerName, ic.User, ic.PasswordFile, icingaConnections)
}

// awaitIcinga waits until each object holds the last of count results.
func awaitIcinga(b *testing.B, ic *realtest.Icinga, count int) {
	b.Helper()
	holds := func(i int, r *realtest.IcingaResult) bool {
		return r != nil && strings.Contains(r.Output, fmt.Sprintf("number %010d", i))
	}
	await(b, "Icinga 2", 10*time.Millisecond, func() bool { // one at a time costs it little
		return holds(count-1, ic.LastCheckResult(icingaObject(count-1)))
	})
	await(b, "Icinga 2", 20*time.Millisecond, func() bool {
		all := ic.LastCheckResults()
		for i := count - icingaObjects; i < count; i++ {
			if !holds(i, all[icingaObject(i)]) {
				return false
			}
		}
		return true
	})
}

// BenchmarkIcinga: through checkbus, and by a bare client with as many
// connections, which is the limit that Icinga 2 itself sets.
func BenchmarkIcinga(b *testing.B) {
	const count = 20_000
	b.Run("pipeline=checkbus", func(b *testing.B) {
		ic := startIcinga(b, icingaHosts, icingaServices)
		g := startGateway(b, icingaSettings(ic))
		load := loadgen.Load{Addr: g.addr, QoS: 1, Connections: 1, Window: 100, Hosts: icingaHosts, Services: icingaServices, Count: count}
		own := newMeter(g.pid)
		begin := time.Now()
		if _, err := load.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		awaitIcinga(b, ic, count)
		report(b, count, time.Since(begin))
		own.report(b, count, "gateway-cpu-us/result")
	})
	b.Run("pipeline=bare", func(b *testing.B) {
		ic := startIcinga(b, icingaHosts, icingaServices)
		client := icingaClient(b, ic)
		begin := time.Now()
		var g errgroup.Group
		for c := range icingaConnections {
			g.Go(func() error {
				for i := c; i < count; i += icingaConnections {
					if err := client.submit(i); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		awaitIcinga(b, ic, count)
		report(b, count, time.Since(begin))
	})
}

// A bareClient speaks to Icinga 2 and does nothing else.
type bareClient struct {
	http           http.Client
	url            string
	user, password string
}

func icingaClient(b *testing.B, ic *realtest.Icinga) *bareClient {
	b.Helper()
	ca, err := os.ReadFile(ic.CA)
	if err != nil {
		b.Fatal(err)
	}
	password, err := os.ReadFile(ic.PasswordFile)
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, ServerName: ic.ServerName},
		MaxIdleConnsPerHost: icingaConnections,
	}
	b.Cleanup(transport.CloseIdleConnections)
	return &bareClient{
		http: http.Client{Transport: transport},
		url:  ic.URL,
		user: ic.User, password: strings.TrimSuffix(string(password), "\n"),
	}
}

func (c *bareClient) submit(i int) error {
	o := icingaObject(i)
	body, err := json.Marshal(map[string]any{
		"type": "Service", "service": o.Host + "!" + o.Service, "exit_status": 0,
		"plugin_output":    fmt.Sprintf("PROC OK: 87 processes, number %010d", i),
		"performance_data": []string{"procs=87;200;300;0;"},
		"check_source":     "bare",
	})
	if err != nil {
		return err
	}
	_, err = c.do(http.MethodPost, "/v1/actions/process-check-result", body)
	return err
}

func (c *bareClient) do(method, path string, body []byte) (answer []byte, err error) {
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(c.user, c.password)
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("icinga2 answered %s", resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// BenchmarkIcingaLatency: from the publish until a query shows the result, ten
// times a second.
func BenchmarkIcingaLatency(b *testing.B) {
	ic := startIcinga(b, icingaHosts, icingaServices)
	g := startGateway(b, icingaSettings(ic))
	client := icingaClient(b, ic)
	client.http.Transport.(*http.Transport).DialContext = quickack.Dial(&net.Dialer{})
	measureLatency(b, g.addr, func(service, reason string) bool {
		answer, err := client.do(http.MethodGet, "/v1/objects/services/h0000!"+service+"?attrs=last_check_result", nil)
		if err != nil {
			b.Fatal(err)
		}
		return bytes.Contains(answer, []byte(reason+`"`))
	})
}
