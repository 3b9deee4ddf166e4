package broker

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os/exec"
	"strings"
	"testing"

	"checkbus/internal/realtest"
)

func TestCertificatesNameTheirUser(t *testing.T) {
	oid := func(parts ...int) asn1.ObjectIdentifier { return parts }
	tests := map[string]struct {
		subject         pkix.RDNSequence
		cn, subject2253 string
	}{
		"common name alone":   {rdns("CN", "web1"), "web1", "CN=web1"},
		"several":             {rdns("C", "DE", "O", "Example", "CN", "web1"), "web1", "CN=web1,O=Example,C=DE"},
		"in another order":    {rdns("CN", "web1", "OU", "Ops", "C", "DE"), "web1", "C=DE,OU=Ops,CN=web1"},
		"two common names":    {rdns("CN", "web1", "CN", "web2"), "web1", "CN=web2,CN=web1"},
		"to escape":           {rdns("O", `a,b+c"d\e<f>g;h=i`, "CN", "# web1 "), "# web1 ", `CN=\# web1\ ,O=a\,b\+c\"d\\e\<f\>g\;h=i`},
		"not ASCII":           {rdns("CN", "Zürich"), "Zürich", `CN=Z\C3\BCrich`},
		"no common name":      {rdns("O", "Example"), "", "O=Example"},
		"nothing":             {nil, "", ""},
		"a control character": {rdns("CN", "a\x00b"), "", `CN=a\00b`},
		"mail address and domain": {pkix.RDNSequence{
			{{Type: oid(0, 9, 2342, 19200300, 100, 1, 25), Value: "example"}},
			{{Type: oid(0, 9, 2342, 19200300, 100, 1, 1), Value: "u1"}},
			{{Type: oid(1, 2, 840, 113549, 1, 9, 1), Value: "a@b"}},
		}, "", "emailAddress=a@b,UID=u1,DC=example"},
		"an unknown attribute": {pkix.RDNSequence{{{Type: oid(1, 3, 6, 1, 4, 1, 99999, 1), Value: "x"}}}, "", "1.3.6.1.4.1.99999.1=#130178"},
		"two attributes as one": {pkix.RDNSequence{{
			{Type: oid(2, 5, 4, 3), Value: "web1"}, {Type: oid(2, 5, 4, 5), Value: "7"},
		}}, "web1", "CN=web1+serialNumber=7"},
		"all kinds": {rdns("ST", "Hessen", "L", "Fulda", "street", "Weg 1", "postalCode", "36037", "title", "Dr", "SN", "Muster", "GN", "Eva",
			"initials", "E", "name", "Eva M", "dnQualifier", "q", "serialNumber", "1"), "",
			"serialNumber=1,dnQualifier=q,name=Eva M,initials=E,GN=Eva,SN=Muster,title=Dr,postalCode=36037,street=Weg 1,L=Fulda,ST=Hessen"},
	}
	openssl := realtest.Need(t, "openssl")
	dir := t.TempDir()
	ca := realtest.NewAuthority(t, dir)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			raw, err := asn1.Marshal(tt.subject)
			if err != nil {
				t.Fatal(err)
			}
			cert := &x509.Certificate{RawSubject: raw}
			if got := peerName(cert, "cn"); got != tt.cn {
				t.Errorf("cn: %q", got)
			}
			if got := peerName(cert, "subject"); got != tt.subject2253 {
				t.Errorf("subject: %q\nwant     %q", got, tt.subject2253)
			}
			file, _ := ca.Issue(t, dir, "peer", func(c *x509.Certificate) { c.RawSubject = raw })
			out, err := exec.Command(openssl, "x509", "-in", file, "-noout", "-subject", "-nameopt", "RFC2253").Output()
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimPrefix(strings.TrimSuffix(string(out), "\n"), "subject="); want != tt.subject2253 {
				t.Errorf("openssl says %q\nwant         %q", want, tt.subject2253)
			}
		})
	}
}

// rdns makes a subject of names and values.
func rdns(pairs ...string) pkix.RDNSequence {
	var subject pkix.RDNSequence
	for i := 0; i < len(pairs); i += 2 {
		for oid, name := range attributeNames {
			if name == pairs[i] {
				var id asn1.ObjectIdentifier
				for part := range strings.SplitSeq(oid, ".") {
					id = append(id, atoi(part))
				}
				subject = append(subject, pkix.RelativeDistinguishedNameSET{{Type: id, Value: pairs[i+1]}})
			}
		}
	}
	return subject
}

func atoi(s string) (n int) {
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

func FuzzPeerName(f *testing.F) {
	for _, subject := range []pkix.RDNSequence{rdns("CN", "web1"), rdns("C", "DE", "CN", "a,b"), nil} {
		raw, err := asn1.Marshal(subject)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, identity := range []string{"cn", "subject"} {
			if name := peerName(&x509.Certificate{RawSubject: raw}, identity); strings.ContainsAny(name, "\x00\n\r") {
				t.Errorf("%s: %q", identity, name)
			}
		}
	})
}
