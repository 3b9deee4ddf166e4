package broker

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An attribute is a part of a certificate's subject (RFC 5280, 4.1.2.4).
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// An attributeSET is most often one attribute; its name tells encoding/asn1 that
// it is a SET.
type attributeSET []attribute

// attributeNames are the short names that OpenSSL has for what subjects are made
// of.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L",
	"2.5.4.8": "ST", "2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title",
	"2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "GN", "2.5.4.43": "initials", "2.5.4.46": "dnQualifier",
	"0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "emailAddress",
}

// peerName is the user name that a verified client certificate stands for: with
// identity "cn" its first common name, with "subject" all of its subject, as
// Mosquitto has it for use_subject_as_username. It is "" when there is none, or
// it is not plain text.
func peerName(cert *x509.Certificate, identity string) string {
	var subject []attributeSET
	if rest, err := asn1.Unmarshal(cert.RawSubject, &subject); err != nil || len(rest) > 0 {
		return ""
	}
	name := commonName(subject)
	if identity == "subject" {
		name = formatSubject(subject)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return ""
	}
	return name
}

func commonName(subject []attributeSET) string {
	for _, set := range subject {
		for _, a := range set {
			if attributeNames[a.Type.String()] == "CN" {
				text, _ := a.text()
				return text
			}
		}
	}
	return ""
}

// formatSubject writes a subject in the form of RFC 2253, as OpenSSL does with
// XN_FLAG_RFC2253: the last attribute first, bytes beyond ASCII escaped, and
// what is unknown in hexadecimal.
func formatSubject(subject []attributeSET) string {
	var b strings.Builder
	for i, set := range slices.Backward(subject) {
		for j, a := range slices.Backward(set) {
			switch {
			case j < len(set)-1:
				b.WriteByte('+')
			case i < len(subject)-1:
				b.WriteByte(',')
			}
			a.write(&b)
		}
	}
	return b.String()
}

func (a attribute) write(b *strings.Builder) {
	name, known := attributeNames[a.Type.String()]
	text, isText := a.text()
	if !known {
		name = a.Type.String()
	}
	b.WriteString(name)
	b.WriteByte('=')
	if !known || !isText {
		fmt.Fprintf(b, "#%X", a.Value.FullBytes)
		return
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(b, `\%02X`, c)
		case strings.IndexByte(`,+"\<>;`, c) >= 0,
			c == ' ' && (i == 0 || i == len(text)-1),
			c == '#' && i == 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
}

// text is the attribute's value as UTF-8; ok is false when it is no text.
func (a attribute) text() (text string, ok bool) {
	_, err := asn1.Unmarshal(a.Value.FullBytes, &text)
	return text, err == nil
}
