package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"checkbus/checks"
)

// codecVersion is the first byte of an encoded result.
//
// Version 1: the version, the state; the lengths of host, service, reason,
// performance data, source and client as uvarints, then these six texts
// without separators; the three times as a varint of seconds and a uvarint of
// nanoseconds each, Time and Executed relative to Arrived; the ttl in
// nanoseconds as a varint; the message fingerprint in 8 bytes, big-endian. Seq
// is not part of it.
const codecVersion = 1

// maxEncodedHead bounds the bytes of an encoded result that are not text.
const maxEncodedHead = 2 + 6*binary.MaxVarintLen64 + 6*binary.MaxVarintLen64 + binary.MaxVarintLen64 + 8

// appendResult appends the encoding of r to buf.
func appendResult(buf []byte, r *checks.Result) []byte {
	buf = append(buf, codecVersion, byte(r.State))
	texts := [...]string{r.Host, r.Service, r.Reason, r.Perfdata, r.Source, r.Client}
	for _, s := range texts {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
	}
	for _, s := range texts {
		buf = append(buf, s...)
	}
	arrived := r.Arrived.Unix()
	buf = appendTime(buf, r.Arrived, 0)
	buf = appendTime(buf, r.Time, arrived)
	buf = appendTime(buf, r.Executed, arrived)
	buf = binary.AppendVarint(buf, int64(r.TTL))
	return binary.BigEndian.AppendUint64(buf, r.Message)
}

// appendTime encodes t relative to base, in Unix seconds. Seconds wrap around,
// so that every time.Time comes back.
func appendTime(buf []byte, t time.Time, base int64) []byte {
	buf = binary.AppendVarint(buf, t.Unix()-base)
	return binary.AppendUvarint(buf, uint64(t.Nanosecond()))
}

// decodeResult is the reverse of appendResult. Times come back in UTC.
func decodeResult(data []byte) (checks.Result, error) {
	d := decoder{rest: data}
	if v := d.byte(); v != codecVersion {
		d.fail(fmt.Errorf("result encoded in version %d, this program reads %d", v, codecVersion))
	}
	r := checks.Result{State: checks.State(d.byte())}
	if r.State > checks.Pending {
		d.fail(fmt.Errorf("state %d is none", r.State))
	}
	d.texts(&r.Host, &r.Service, &r.Reason, &r.Perfdata, &r.Source, &r.Client)
	r.Arrived = d.time(0)
	base := r.Arrived.Unix()
	r.Time = d.time(base)
	r.Executed = d.time(base)
	r.TTL = time.Duration(d.varint())
	r.Message = d.uint64()
	if len(d.rest) > 0 {
		d.fail(fmt.Errorf("%d bytes too many", len(d.rest)))
	}
	return r, d.err
}

var errShort = errors.New("it breaks off")

// A decoder reads from rest until its first error.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}

func (d *decoder) byte() byte {
	if len(d.rest) < 1 {
		d.fail(errShort)
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uint64() uint64 {
	if len(d.rest) < 8 {
		d.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint64(d.rest)
	d.rest = d.rest[8:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) time(base int64) time.Time {
	sec, nsec := d.varint(), d.uvarint()
	if nsec >= uint64(time.Second) {
		d.fail(fmt.Errorf("%d nanoseconds are more than a second", nsec))
		return time.Time{}
	}
	return time.Unix(base+sec, int64(nsec)).UTC()
}

// texts reads the lengths of all texts, then the texts, which share one
// allocation.
func (d *decoder) texts(into ...*string) {
	var lengths [8]int
	total := 0
	for i := range into {
		n := d.uvarint()
		if n > math.MaxInt32 || total+int(n) > len(d.rest) {
			d.fail(errShort)
			return
		}
		lengths[i] = int(n)
		total += int(n)
	}
	if total > len(d.rest) {
		d.fail(errShort)
		return
	}
	all := string(d.rest[:total])
	d.rest = d.rest[total:]
	for i, s := range into {
		*s, all = all[:lengths[i]], all[lengths[i]:]
	}
}

// Keys: one byte says what it is, so that each kind is a range.
const (
	recordPrefix = 'r' // and the Seq, 8 bytes big-endian
	lastPrefix   = 'l' // and the object
	cursorPrefix = 'c' // and the name
	statePrefix  = 's' // and the object
)

var (
	tailKey  = []byte("n") // the position of the newest result
	eventKey = []byte("e") // the Seq of the newest event, 8 bytes big-endian
)

// format is that of the store. One of another format is refused.
const format = 1

func recordKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{recordPrefix}, seq)
}

func recordSeq(key []byte) (uint64, error) {
	if len(key) != 9 {
		return 0, fmt.Errorf("record key %x is not 9 bytes long", key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

func cursorKey(name string) []byte { return append([]byte{cursorPrefix}, name...) }

// appendLastKey appends the key of o in the table of last results. A host
// sorts before its services. Names hold no control characters, so that the
// zero byte separates.
func appendLastKey(buf []byte, o checks.Object) []byte {
	return appendObject(append(buf, lastPrefix), o)
}

func appendObject(buf []byte, o checks.Object) []byte {
	buf = append(buf, o.Host...)
	buf = append(buf, 0)
	return append(buf, o.Service...)
}

// A record and an entry of the table of last results are 8 bytes and an
// encoded result. The 8 bytes are, for a record, the bytes of all records
// before it since the store began, so that the size of any range of records is
// a subtraction; for a last result, its Seq.
func splitValue(value []byte) (number uint64, encoded []byte, err error) {
	if len(value) < 8 {
		return 0, nil, errShort
	}
	return binary.BigEndian.Uint64(value), value[8:], nil
}

// recordSize is the room that an encoded result takes against Options.MaxBytes:
// its key and value.
func recordSize(encoded int) int64 { return int64(9 + 8 + encoded) }

// A position is a place between two records: after the one with Seq seq, with
// bytes of records before it since the store began.
type position struct {
	seq   uint64
	bytes int64
}

func (p position) encode() []byte {
	buf := binary.BigEndian.AppendUint64(nil, p.seq)
	return binary.BigEndian.AppendUint64(buf, uint64(p.bytes))
}

func decodePosition(value []byte) (position, error) {
	if len(value) != 16 {
		return position{}, fmt.Errorf("a position of %d bytes, want 16", len(value))
	}
	p := position{binary.BigEndian.Uint64(value), int64(binary.BigEndian.Uint64(value[8:]))}
	if p.bytes < 0 {
		return position{}, errors.New("a position of negative size")
	}
	return p, nil
}

// textSize is the room that the texts of r take when encoded.
func textSize(r *checks.Result) int {
	return len(r.Host) + len(r.Service) + len(r.Reason) + len(r.Perfdata) + len(r.Source) + len(r.Client)
}
