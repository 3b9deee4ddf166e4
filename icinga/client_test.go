package icinga

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
)

func TestDecodeListRefusesWhatIsCutShort(t *testing.T) {
	const whole = `{"results":[{"attrs":{"last_check_result":null},"joins":{},"meta":{},"name":"db1!disk","type":"Service"},` +
		`{"attrs":{"last_check_result":{"execution_start":1795290003.152931,"output":"]}"}},"name":"db1","type":"Host"}]}`
	var got []entry
	if err := decodeList(strings.NewReader(whole), func(e entry) { got = append(got, e) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Name != "db1!disk" || got[0].held() != 0 || got[1].held() != 1795290003152931 {
		t.Errorf("decodeList = %+v", got)
	}
	for n := range len(whole) {
		if err := decodeList(strings.NewReader(whole[:n]), func(entry) {}); err == nil {
			t.Errorf("no error for the first %d bytes", n)
		}
	}
	for _, other := range []string{`[]`, `{"error":404}`, `{"results":{}}`, `<html>`} {
		if err := decodeList(strings.NewReader(other), func(entry) {}); err == nil {
			t.Errorf("no error for %s", other)
		}
	}
}

func FuzzDecodeList(f *testing.F) {
	f.Add(`{"results":[{"attrs":{"last_check_result":{"execution_start":1.5}},"name":"a!b"}]}`)
	f.Add(`{"results":[]}`)
	f.Fuzz(func(t *testing.T, s string) {
		_ = decodeList(strings.NewReader(s), func(e entry) { e.held(); objectOf(e.Name) })
	})
}

func FuzzFollow(f *testing.F) {
	f.Add(`{"object_name":"a!b","object_type":"Service","type":"ObjectCreated"}` + "\n" + `{"object_name":"a","object_type":"Host","type":"ObjectDeleted"}`)
	f.Fuzz(func(t *testing.T, s string) {
		if err := newObjects().follow(strings.NewReader(s)); err == nil {
			t.Error("the stream ended without an error")
		}
	})
}

func TestFollowKeepsUpWithObjectsThatComeAndGo(t *testing.T) {
	o := newObjects()
	o.beginList()
	o.add(checks.Object{Host: "db1"}, 0, time.Now())
	o.endList()
	created, deleted := checks.Object{Host: "db1", Service: "disk"}, checks.Object{Host: "db1"}
	if o.has(created) || !o.has(deleted) {
		t.Fatal("the list is not what was read")
	}
	err := o.follow(strings.NewReader(`{"type":"ObjectCreated","object_type":"Service","object_name":"db1!disk"}
{"type":"ObjectCreated","object_type":"Comment","object_name":"db1!swap!x"}
{"type":"ObjectDeleted","object_type":"Host","object_name":"db1"}
`))
	if !errors.Is(err, io.EOF) {
		t.Errorf("follow = %v", err)
	}
	if !o.has(created) || o.has(deleted) || o.size() != 1 {
		t.Errorf("after the events: created %t, deleted %t, %d objects", o.has(created), o.has(deleted), o.size())
	}
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
