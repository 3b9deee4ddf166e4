package quickack

import "golang.org/x/sys/unix"

// quick makes the socket acknowledge what was read so far.
func quick(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
}
