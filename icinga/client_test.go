package icinga

import (
	"strings"
	"testing"
	"time"

	"checkbus/checks"
)

func TestDecodeListRefusesWhatIsCutShort(t *testing.T) {
	const whole = `{"results":[{"attrs":{"last_check_result":null},"joins":{},"meta":{},"name":"db1!disk","type":"Service"},` +
		`{"attrs":{"last_check_result":{"execution_start":1795290003.152931,"output":"]}"}},"name":"db1","type":"Host"}]}`
	var got []entry
	if err := decodeList(strings.NewReader(whole), func(e *entry) { got = append(got, *e) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Name != "db1!disk" || got[0].held() != 0 || got[1].held() != 1795290003152931 {
		t.Errorf("decodeList = %+v", got)
	}
	for n := range len(whole) {
		if err := decodeList(strings.NewReader(whole[:n]), func(*entry) {}); err == nil {
			t.Errorf("no error for the first %d bytes", n)
		}
	}
	for _, other := range []string{`[]`, `{"error":404}`, `{"results":{}}`, `<html>`} {
		if err := decodeList(strings.NewReader(other), func(*entry) {}); err == nil {
			t.Errorf("no error for %s", other)
		}
	}
}

func FuzzDecodeList(f *testing.F) {
	f.Add(`{"results":[{"attrs":{"last_check_result":{"execution_start":1.5}},"name":"a!b"}]}`)
	f.Add(`{"results":[]}`)
	f.Add(`{"results":[{"name":"a","attrs":{"state":1,"state_type":0,"last_reachable":false,"last_check":1e99,"last_check_result":{"performance_data":["a b=1",{"label":"c","value":1,"warn":-1}]}}}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		l := listening().ledger
		_ = decodeList(strings.NewReader(s), func(e *entry) {
			e.held()
			l.note(e.reading())
			l.compare(e, 1)
		})
	})
}

func TestAnObjectThatIsGoneForAWhileKeepsItsMark(t *testing.T) {
	o, now := newObjects(), time.Now()
	r := checks.Result{Object: service("disk"), Executed: now, Seq: 7}
	list := func(held ...int64) (lost bool) {
		o.beginList()
		for _, at := range held {
			_, lost = o.add(r.Object, at, now)
		}
		o.endList()
		return lost
	}
	list(0)
	o.acknowledge(&r)
	list()
	if o.has(r.Object) {
		t.Error("an object that is not in the list is there")
	}
	if !list(now.Add(-time.Second).UnixMicro()) {
		t.Error("what was acknowledged before the object was gone is not missed")
	}
	if list(now.UnixMicro()) {
		t.Error("missed although Icinga holds it")
	}
}
