package nagios

import (
	"bufio"
	"bytes"
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"slices"
	"syscall"

	"checkbus/checks"
)

// An objectSet is hosts and services by the hash of their names: 8 bytes each,
// whatever they are called. That an unknown object passes for a known one has a
// chance of one in 2^64 for each that is known, which nobody can raise, as the
// seed is secret.
type objectSet struct {
	hosts, services int
	seed            maphash.Seed
	sorted          []uint64
}

func (s *objectSet) has(o checks.Object) bool {
	_, found := slices.BinarySearch(s.sorted, s.hash([]byte(o.Host), []byte(o.Service)))
	return found
}

func (s *objectSet) hash(host, service []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.Write(host)
	h.WriteByte(0)
	h.Write(service)
	return h.Sum64()
}

// errIncomplete is an object cache that ends within a definition.
var errIncomplete = errors.New("the object cache is incomplete")

// maxCacheLine is how much of a line is looked at. The longer ones list the
// members of groups.
const maxCacheLine = 64 << 10

const (
	defineHost    = "define host {"
	defineService = "define service {"
)

// readObjects reads an object cache: "define host {" or "define service {",
// then one "key<tab>value" a line, then "}". Anything else is passed over.
func readObjects(r io.Reader) (*objectSet, error) {
	set := &objectSet{seed: maphash.MakeSeed()}
	lines := bufio.NewReaderSize(r, maxCacheLine)
	var kind string
	var host, service []byte
	inside := false
	for {
		line, whole, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		key, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte("\t"))
		switch {
		case !whole:
		case string(key) == "}":
			set.add(kind, host, service)
			kind, host, service, inside = "", host[:0], service[:0], false
		case string(key) == defineHost:
			kind, inside = defineHost, true
		case string(key) == defineService:
			kind, inside = defineService, true
		case bytes.HasPrefix(key, []byte("define ")):
			kind, inside = "", true
		case string(key) == "host_name" && kind != "":
			host = append(host[:0], value...)
		case string(key) == "service_description" && kind != "":
			service = append(service[:0], value...)
		}
	}
	if inside || len(set.sorted) == 0 {
		return nil, errIncomplete
	}
	slices.Sort(set.sorted)
	set.sorted = slices.Clip(slices.Compact(set.sorted))
	return set, nil
}

// readLine returns the next line, or the start of one that is too long, which
// is not whole then. It is good until the next call.
func readLine(r *bufio.Reader) (line []byte, whole bool, err error) {
	line, err = r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return line, false, nil
		}
		return line, true, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return nil, false, err
}

// add takes up a definition.
func (s *objectSet) add(kind string, host, service []byte) {
	switch {
	case len(host) == 0:
	case kind == defineHost:
		s.hosts++
		s.sorted = append(s.sorted, s.hash(host, nil))
	case kind == defineService && len(service) > 0:
		s.services++
		s.sorted = append(s.sorted, s.hash(host, service))
	}
}

func inode(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
