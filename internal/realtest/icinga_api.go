package realtest

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/quickack"
)

// An icingaAdmin asks Icinga's API as a user who may do anything.
type icingaAdmin struct {
	base     string
	password string
	http     *http.Client
}

func newIcingaAdmin(t testing.TB, ic *Icinga) *icingaAdmin {
	t.Helper()
	pem, err := os.ReadFile(ic.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &icingaAdmin{
		base:     ic.URL,
		password: rand.Text(),
		http: &http.Client{
			Timeout: 30 * time.Second,
			Transport: &http.Transport{
				DialContext:     quickack.Dial(&net.Dialer{}),
				TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: ic.ServerName},
				IdleConnTimeout: 5 * time.Second,
			},
		},
	}
}

func (a *icingaAdmin) close() { a.http.CloseIdleConnections() }

// do asks for path and reads the answer's JSON into reply, if that is given.
func (a *icingaAdmin) do(method, path string, body, reply any) (status int, err error) {
	var sent []byte
	if body != nil {
		if sent, err = json.Marshal(body); err != nil {
			return 0, err
		}
	}
	req, err := http.NewRequest(method, a.base+path, bytes.NewReader(sent))
	if err != nil {
		return 0, err
	}
	req.SetBasicAuth("admin", a.password)
	req.Header.Set("Accept", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if reply != nil {
		err = json.NewDecoder(resp.Body).Decode(reply)
	}
	return resp.StatusCode, err
}

// started is when the process that answers began, in Unix seconds; 0 while
// none answers.
func (a *icingaAdmin) started() float64 {
	var reply struct {
		Results []struct {
			Status struct {
				IcingaApplication struct {
					App struct {
						ProgramStart float64 `json:"program_start"`
					}
				}
			}
		}
	}
	status, err := a.do("GET", "/v1/status/IcingaApplication", nil, &reply)
	if err != nil || status != http.StatusOK || len(reply.Results) == 0 {
		return 0
	}
	return reply.Results[0].Status.IcingaApplication.App.ProgramStart
}

// An IcingaResult is what Icinga holds as an object's last check result.
type IcingaResult struct {
	State           float64  `json:"state"`
	Output          string   `json:"output"`
	PerformanceData []string `json:"performance_data"`
	CheckSource     string   `json:"check_source"`
	ExecutionStart  float64  `json:"execution_start"` // Unix seconds
	ExecutionEnd    float64  `json:"execution_end"`
	TTL             float64  `json:"ttl"` // seconds
	Active          bool     `json:"active"`
	VarsAfter       struct {
		Attempt   float64 `json:"attempt"`
		StateType float64 `json:"state_type"`
	} `json:"vars_after"`
}

// LastCheckResult asks for o's last check result; nil when there is none yet.
// The test fails when Icinga does not know o.
func (ic *Icinga) LastCheckResult(o checks.Object) *IcingaResult {
	ic.t.Helper()
	var reply struct {
		Results []struct {
			Attrs struct {
				LastCheckResult *IcingaResult `json:"last_check_result"`
			} `json:"attrs"`
		} `json:"results"`
	}
	status, err := ic.admin.do("GET", icingaPath(o), nil, &reply)
	if err != nil || status != http.StatusOK || len(reply.Results) != 1 {
		ic.t.Fatalf("ask icinga2 for %s: status %d, %d results, %v", o, status, len(reply.Results), err)
	}
	return reply.Results[0].Attrs.LastCheckResult
}

// LastCheckResults asks for the last check results of all hosts and services.
func (ic *Icinga) LastCheckResults() map[checks.Object]*IcingaResult {
	ic.t.Helper()
	all := make(map[checks.Object]*IcingaResult)
	for _, kind := range []string{"hosts", "services"} {
		var reply struct {
			Results []struct {
				Attrs struct {
					LastCheckResult *IcingaResult `json:"last_check_result"`
				} `json:"attrs"`
				Name string `json:"name"`
			} `json:"results"`
		}
		status, err := ic.admin.do("GET", "/v1/objects/"+kind+"?attrs=last_check_result", nil, &reply)
		if err != nil || status != http.StatusOK {
			ic.t.Fatalf("ask icinga2 for all %s: status %d, %v", kind, status, err)
		}
		for _, r := range reply.Results {
			host, service, _ := strings.Cut(r.Name, "!")
			all[checks.Object{Host: host, Service: service}] = r.Attrs.LastCheckResult
		}
	}
	return all
}

// Create adds a passive object while Icinga runs.
func (ic *Icinga) Create(o checks.Object) {
	ic.t.Helper()
	template := "checkbus-service"
	if o.IsHost() {
		template = "checkbus-host"
	}
	ic.Do("PUT", icingaPath(o), map[string]any{"templates": []string{template}})
}

// Delete removes an object that Create added.
func (ic *Icinga) Delete(o checks.Object) {
	ic.t.Helper()
	ic.Do("DELETE", icingaPath(o)+"?cascade=1", nil)
}

// Do sends any request as a user who may do anything. The test fails unless
// Icinga answers 200.
func (ic *Icinga) Do(method, path string, body any) {
	ic.t.Helper()
	var reply json.RawMessage
	status, err := ic.admin.do(method, path, body, &reply)
	if err != nil || status != http.StatusOK {
		ic.t.Fatalf("%s %s: status %d, %v: %s", method, path, status, err, reply)
	}
}

func icingaPath(o checks.Object) string {
	kind := "services"
	if o.IsHost() {
		kind = "hosts"
	}
	return fmt.Sprintf("/v1/objects/%s/%s", kind, url.PathEscape(o.String()))
}

// Attributes are what Icinga says of an object.
type Attributes map[string]any

// Number is an attribute that is a number; 0 when it is none.
func (a Attributes) Number(name string) float64 {
	n, _ := a[name].(float64)
	return n
}

// Attributes asks for all hosts and services.
func (ic *Icinga) Attributes() map[checks.Object]Attributes {
	ic.t.Helper()
	all := make(map[checks.Object]Attributes)
	for _, kind := range []string{"hosts", "services"} {
		var reply struct {
			Results []struct {
				Attrs Attributes `json:"attrs"`
				Name  string     `json:"name"`
			} `json:"results"`
		}
		status, err := ic.admin.do("GET", "/v1/objects/"+kind, nil, &reply)
		if err != nil || status != http.StatusOK {
			ic.t.Fatalf("ask icinga2 for all %s: status %d, %v", kind, status, err)
		}
		for _, r := range reply.Results {
			host, service, _ := strings.Cut(r.Name, "!")
			all[checks.Object{Host: host, Service: service}] = r.Attrs
		}
	}
	return all
}
