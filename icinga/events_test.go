package icinga

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
)

// listening is a Sink that nobody answers, and whose events are noted.
func listening() *Sink {
	s := &Sink{objects: newObjects(), ledger: newLedger()}
	s.ledger.begin()
	return s
}

// testdata/events.ndjson is what Icinga 2.13.6 sent.
func TestRecordedEventsSayWhereThereIsNews(t *testing.T) {
	file, err := os.Open("testdata/events.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	svc, flap := checks.Object{Host: "ev", Service: "svc"}, checks.Object{Host: "ev", Service: "flap"}
	about := map[string]checks.Object{
		"StateChange": svc, "AcknowledgementSet": svc, "AcknowledgementCleared": svc,
		"DowntimeStarted": svc, "DowntimeTriggered": svc, "DowntimeRemoved": svc, "Flapping": flap,
	}
	seen := make(map[string]bool)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		s := listening()
		if err := s.listen(strings.NewReader(lines.Text())); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		for kind, o := range about {
			if strings.Contains(lines.Text(), `"type":"`+kind+`"}`) {
				seen[kind] = true
				if news := s.ledger.take(); len(news.unread) != 1 || news.unread[0] != o {
					t.Errorf("%s: to be asked for are %v, want %v", kind, news.unread, o)
				}
			}
		}
	}
	if len(seen) != len(about) {
		t.Errorf("of the types %v only %v are recorded", about, seen)
	}
}

func TestEvents(t *testing.T) {
	disk, web1 := service("disk"), checks.Object{Host: "web1"}
	at := time.UnixMicro(1795290003152931).UTC()
	tests := map[string]struct {
		event   string
		asked   bool
		removed bool
	}{
		"a newer check":        {`{"type":"StateChange","host":"web1","service":"disk","check_result":{"execution_end":1795290003.152932}}`, true, false},
		"a check that is told": {`{"type":"StateChange","host":"web1","service":"disk","check_result":{"execution_end":1795290003.152931}}`, false, false},
		"no check":             {`{"type":"StateChange","host":"web1","service":"disk","check_result":null}`, false, false},
		"a downtime":           {`{"type":"DowntimeStarted","downtime":{"host_name":"web1","service_name":"disk"}}`, true, false},
		"created":              {`{"type":"ObjectCreated","object_type":"Service","object_name":"web1!disk"}`, true, false},
		"deleted":              {`{"type":"ObjectDeleted","object_type":"Service","object_name":"web1!disk"}`, false, true},
		"created anew":         {`{"type":"ObjectDeleted","object_type":"Service","object_name":"web1!disk"} {"type":"ObjectCreated","object_type":"Service","object_name":"web1!disk"}`, true, true},
		"another object":       {`{"type":"ObjectDeleted","object_type":"Comment","object_name":"web1!disk"}`, false, false},
		"another type":         {`{"type":"Notification","host":"web1","service":"disk"}`, false, false},
		"nobody":               {`{"type":"Flapping"}`, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := listening()
			s.ledger.note(reading{Status: checks.Status{Object: disk, Time: at}})
			s.ledger.note(reading{Status: checks.Status{Object: web1}})
			_ = s.listen(strings.NewReader(tt.event)) // it always ends with an error
			news := s.ledger.take()
			if (len(news.unread) == 1) != tt.asked || (len(news.removed) == 1) != tt.removed || len(news.states) != 0 {
				t.Errorf("news = %+v", news)
			}
		})
	}
}

func TestEventsSayWhichObjectsThereAre(t *testing.T) {
	s := listening()
	s.objects.beginList()
	s.objects.add(checks.Object{Host: "db1"}, 0, time.Now())
	s.objects.endList()
	created, deleted := checks.Object{Host: "db1", Service: "disk"}, checks.Object{Host: "db1"}
	if s.objects.has(created) || !s.objects.has(deleted) {
		t.Fatal("the list is not what was read")
	}
	err := s.listen(strings.NewReader(`{"type":"ObjectCreated","object_type":"Service","object_name":"db1!disk"}
{"type":"ObjectCreated","object_type":"Comment","object_name":"db1!swap!x"}
{"type":"ObjectDeleted","object_type":"Host","object_name":"db1"}
`))
	if !errors.Is(err, io.EOF) {
		t.Errorf("listen = %v", err)
	}
	if !s.objects.has(created) || s.objects.has(deleted) || s.objects.size() != 1 {
		t.Errorf("after the events: created %t, deleted %t, %d objects", s.objects.has(created), s.objects.has(deleted), s.objects.size())
	}
}

func FuzzListen(f *testing.F) {
	f.Add(`{"object_name":"a!b","object_type":"Service","type":"ObjectCreated"}` + "\n" + `{"object_name":"a","object_type":"Host","type":"ObjectDeleted"}`)
	f.Add(`{"type":"StateChange","host":"a","service":"b","check_result":{"execution_end":1.5}}`)
	f.Add(`{"type":"DowntimeRemoved","downtime":{"host_name":"a","service_name":""}} {"type":"Flapping","host":"a"}`)
	f.Fuzz(func(t *testing.T, text string) {
		s := listening()
		if err := s.listen(strings.NewReader(text)); err == nil {
			t.Error("the stream ended without an error")
		}
		for _, o := range s.ledger.take().unread {
			if o.Host == "" {
				t.Error("an object without a host is to be asked for")
			}
		}
	})
}
