package nagios

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"

	"checkbus/checks"
)

// errCut is a status file that ends in the middle, or is none.
var errCut = errors.New("the status file is not complete")

// maxStatusLine is how much of a line of the status file is kept: more is the
// end of a very long output.
const maxStatusLine = 1 << 20

// A program is what the status file says of the core itself.
type program struct {
	created  int64 // when the file was written, in Unix seconds
	started  int64 // when the core began, or read its configuration again
	pid      int64
	services bool // passive results of services are taken
	hosts    bool // those of hosts are
}

// An entry is what the status file says of one object. Its bytes are good until
// the next one is read.
type entry struct {
	host, service []byte
	isService     bool

	checked       bool // ever
	state         int64
	hard          bool
	attempt       int64
	output        []byte
	long          []byte // with \n for newline and \\ for backslash
	perfdata      []byte
	lastCheck     int64 // Unix seconds, as the next one; 0 for never
	lastChange    int64
	acknowledged  bool
	sticky        bool
	flapping      bool
	downtimeDepth int64
	passive       bool // passive results are taken
}

// The blocks of a status file, by their first lines.
const (
	infoBlock    = "info {"
	programBlock = "programstatus {"
	hostBlock    = "hoststatus {"
	serviceBlock = "servicestatus {"
)

// readStatus reads a status file: blocks of "key=value" lines, those about the
// core before those about objects, each of which is handed to each (Nagios Core
// 4.4.6, xdata/xsddefault.c).
func readStatus(lines *bufio.Reader, each func(p program, e *entry)) (program, error) {
	var p program
	var e entry
	block := "" // "" between blocks and in those that are passed over
	inside, complete := false, false
	for {
		line, err := statusLine(lines)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return p, err
		}
		line = bytes.TrimPrefix(line, []byte("\t"))
		if !inside {
			block, inside = blockOf(line)
			e.reset(block == serviceBlock)
			continue
		}
		if string(line) == "}" {
			if len(e.host) > 0 {
				each(p, &e)
			}
			inside, complete = false, complete || block == programBlock
			continue
		}
		if block == "" {
			continue
		}
		key, value, _ := bytes.Cut(line, []byte("="))
		if block == hostBlock || block == serviceBlock {
			e.set(key, value)
		} else {
			p.set(key, value)
		}
	}
	if inside || !complete || p.created == 0 {
		return p, errCut
	}
	return p, nil
}

// blockOf tells whether line begins a block, and which of those that matter.
func blockOf(line []byte) (block string, begins bool) {
	for _, known := range []string{serviceBlock, hostBlock, programBlock, infoBlock} {
		if string(line) == known {
			return known, true
		}
	}
	return "", bytes.HasSuffix(line, []byte(" {"))
}

// statusLine is the next line without its newline, or the beginning of one that
// is too long.
func statusLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil {
		return line[:len(line)-1], nil
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		line = bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
	}
	return line, err
}

func (p *program) set(key, value []byte) {
	switch string(key) {
	case "created":
		p.created = number(value)
	case "program_start":
		p.started = number(value)
	case "nagios_pid", "naemon_pid":
		p.pid = number(value)
	case "passive_service_checks_enabled":
		p.services = number(value) != 0
	case "passive_host_checks_enabled":
		p.hosts = number(value) != 0
	}
}

// reset empties e and keeps its buffers.
func (e *entry) reset(service bool) {
	*e = entry{
		host: e.host[:0], service: e.service[:0], isService: service,
		output: e.output[:0], long: e.long[:0], perfdata: e.perfdata[:0],
	}
}

func (e *entry) set(key, value []byte) {
	switch string(key) {
	case "host_name":
		e.host = append(e.host, value...)
	case "service_description":
		e.service = append(e.service, value...)
	case "has_been_checked":
		e.checked = number(value) != 0
	case "current_state":
		e.state = number(value)
	case "state_type":
		e.hard = number(value) == 1
	case "current_attempt":
		e.attempt = number(value)
	case "plugin_output":
		e.output = append(e.output, value...)
	case "long_plugin_output":
		e.long = append(e.long, value...)
	case "performance_data":
		e.perfdata = append(e.perfdata, value...)
	case "last_check":
		e.lastCheck = number(value)
	case "last_state_change":
		e.lastChange = number(value)
	case "problem_has_been_acknowledged":
		e.acknowledged = number(value) != 0
	case "acknowledgement_type":
		e.sticky = number(value) == 2 // ACKNOWLEDGEMENT_STICKY (common.h)
	case "is_flapping":
		e.flapping = number(value) != 0
	case "scheduled_downtime_depth":
		e.downtimeDepth = number(value)
	case "passive_checks_enabled":
		e.passive = number(value) != 0
	}
}

// number is 0 for what is none.
func number(value []byte) int64 {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// verdict is the state that e says, Pending before any check.
func (e *entry) verdict() checks.State {
	switch {
	case !e.checked:
		return checks.Pending
	case e.isService && e.state >= 0 && e.state <= 3:
		return checks.State(e.state)
	case e.isService:
		return checks.Unknown
	case e.state == 0:
		return checks.Up
	case e.state == 2:
		return checks.Unreachable
	}
	return checks.Down
}

// appendReason adds the whole output, newlines and all, to dst.
func (e *entry) appendReason(dst []byte) []byte {
	dst = append(dst, e.output...)
	if len(e.long) == 0 {
		return dst
	}
	dst = append(dst, '\n')
	for i := 0; i < len(e.long); i++ {
		c := e.long[i]
		if c == '\\' && i+1 < len(e.long) {
			switch e.long[i+1] {
			case 'n':
				i, c = i+1, '\n'
			case '\\':
				i++
			}
		}
		dst = append(dst, c)
	}
	return dst
}
