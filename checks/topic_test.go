package checks

import (
	"errors"
	"strings"
	"testing"
)

func TestTopicAndObjectMapToEachOther(t *testing.T) {
	tests := map[string]struct {
		object Object
		topic  string
	}{
		"root":                      {Object{}, "nagios"},
		"host":                      {Object{Host: "web1"}, "nagios/web1"},
		"service":                   {Object{"web1", "disk"}, "nagios/web1/disk"},
		"slashes in a service":      {Object{"web1", "Disk /var"}, "nagios/web1/Disk /var"},
		"service begins with slash": {Object{"web1", "/var"}, "nagios/web1//var"},
		"service is a slash":        {Object{"web1", "/"}, "nagios/web1//"},
		"empty levels":              {Object{"web1", "a//b/"}, "nagios/web1/a//b/"},
		"slash in a host":           {Object{Host: "rack1/web1"}, "nagios/rack1%2Fweb1"},
		"wildcards":                 {Object{"a+b", "#1"}, "nagios/a%2Bb/%231"},
		"percent alone":             {Object{"web1", "CPU %"}, "nagios/web1/CPU %"},
		"percent before other hex":  {Object{"web1", "%20%41"}, "nagios/web1/%20%41"},
		"percent like an escape":    {Object{"web1", "%2F%2f%25"}, "nagios/web1/%252F%252f%2525"},
		"percent before an escape":  {Object{"%/", "%2+"}, "nagios/%%2F/%2%2B"},
		"not ASCII":                 {Object{"büro", "温度"}, "nagios/büro/温度"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.object.Topic("nagios"); got != tt.topic {
				t.Errorf("Topic = %q, want %q", got, tt.topic)
			}
			got, err := ParseTopic("nagios", tt.topic)
			if err != nil || got != tt.object {
				t.Errorf("ParseTopic(%q) = %q, %v, want %q", tt.topic, got, err, tt.object)
			}
		})
	}
}

func TestParseTopicTakesEitherCaseOfEscapes(t *testing.T) {
	got, err := ParseTopic("a/b", "a/b/h%2f%2b%23%25/s%2F%2Bx")
	if want := (Object{"h/+#%", "s/+x"}); err != nil || got != want {
		t.Errorf("ParseTopic = %q, %v, want %q", got, err, want)
	}
}

func TestParseTopicNamesWhatIsWrong(t *testing.T) {
	tests := map[string]struct{ topic, want string }{
		"no host":            {"nagios/", `host: empty`},
		"no host, a service": {"nagios//disk", `host: empty`},
		"empty service":      {"nagios/web1/", `service: empty`},
		"other root":         {"nagiosweb1", `not below "nagios"`},
		"above root":         {"nag", `not below "nagios"`},
		"empty":              {"", `not below "nagios"`},
		"semicolon":          {"nagios/web1;x", "host: holds"},
		"exclamation mark":   {"nagios/web1/a!b", "service: holds"},
		"newline":            {"nagios/web1/a\nb", "service: holds"},
		"DEL":                {"nagios/web1\x7f", "host: holds"},
		"C1":                 {"nagios/web1\u0085", "host: holds"},
		"invalid UTF-8":      {"nagios/web1/\xff", "service: not UTF-8"},
		"long host":          {"nagios/" + strings.Repeat("a", 1025), "host: longer than 1024"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o, err := ParseTopic("nagios", tt.topic)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want invalid: %s", err, tt.want)
			}
			if o != (Object{}) || strings.Count(err.Error(), "invalid") != 1 || len(err.Error()) > 200 {
				t.Errorf("object %q, error %q", o, err)
			}
		})
	}
}

func FuzzTopic(f *testing.F) {
	for _, s := range []string{"web1", "a%2Fb", "%", "%%25", "a/b", "+#", "/", "%2", "ü", "\xff", "a;b", "%252F"} {
		f.Add(s, s)
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, host, service string) {
		o := Object{host, service}
		if o.Validate() == nil {
			topic := o.Topic("nagios")
			got, err := ParseTopic("nagios", topic)
			if err != nil || got != o {
				t.Fatalf("%q has topic %q, which is %q, %v", o, topic, got, err)
			}
			if strings.ContainsAny(topic, "+#") || strings.Contains(EncodeLevel(host), "/") {
				t.Fatalf("%q has topic %q", o, topic)
			}
		}
		got, err := ParseTopic(host, service)
		if err == nil && got != (Object{}) && got.Validate() != nil {
			t.Fatalf("topic %q names %q", service, got)
		}
	})
}
