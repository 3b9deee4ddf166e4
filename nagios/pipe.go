package nagios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// atomicWrite is how many bytes one write to a FIFO keeps together (PIPE_BUF,
// pipe(7)). More would be mixed with what other programs write.
const atomicWrite = 4096

// tick is how often a wait looks whether its context has ended, whether the
// command file has been replaced, and for what an event did not tell.
const tick = 100 * time.Millisecond

var (
	errNoReader = errors.New("the core stopped reading its command file")
	errReplaced = errors.New("the core's command file was replaced")
	errFull     = errors.New("the core does not read its command file, which is full")
)

func notAPipe(path string) error { return fmt.Errorf("%s is not a FIFO", path) }

// A pipe is the core's command file while the core reads it.
type pipe struct {
	path string
	fd   int
	stat unix.Stat_t
}

// openPipe opens the command file, which it never makes: a regular file in its
// place would swallow everything without a word. It fails with ENXIO while
// nobody reads the FIFO and with ENOENT while there is none.
func openPipe(path string) (*pipe, error) {
	fd, err := retryOpen(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	p := &pipe{path: path, fd: fd}
	if err := unix.Fstat(fd, &p.stat); err != nil {
		p.close()
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if p.stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		p.close()
		return nil, notAPipe(path)
	}
	return p, nil
}

func retryOpen(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (p *pipe) close() {
	_ = unix.Close(p.fd) // nothing is buffered on this side
}

// write writes lines, at most atomicWrite bytes, in one piece, or nothing.
// While the FIFO is full it waits for the core, until patience or ctx ends, the
// reader goes or the FIFO is replaced.
func (p *pipe) write(ctx context.Context, lines []byte, patience time.Duration) error {
	for end := time.Now().Add(patience); ; {
		switch _, err := unix.Write(p.fd, lines); err {
		case nil:
			return nil
		case unix.EAGAIN, unix.EINTR:
		case unix.EPIPE:
			return errNoReader
		default:
			return &os.PathError{Op: "write", Path: p.path, Err: err}
		}
		if time.Now().After(end) {
			return errFull
		}
		if err := p.wait(ctx, unix.PollFd{Fd: int32(p.fd), Events: unix.POLLOUT}, tick); err != nil {
			return err
		}
	}
}

// wait returns when other has an event, or after d, and fails when ctx has
// ended or the core no longer reads the pipe.
func (p *pipe) wait(ctx context.Context, other unix.PollFd, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(p.fd)}, other}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("poll: %w", err)
	}
	if n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
		return errNoReader
	}
	if n == 0 && !p.current() {
		return errReplaced
	}
	return nil
}

// current reports whether the path still names this FIFO.
func (p *pipe) current() bool {
	var st unix.Stat_t
	return unix.Stat(p.path, &st) == nil && st.Dev == p.stat.Dev && st.Ino == p.stat.Ino
}
