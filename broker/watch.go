package broker

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long after the first change the files of a certificate are
// read, since its key is replaced a moment before it or after it.
const settle = 500 * time.Millisecond

// watchCertificates reloads the certificates of listeners when their files
// change, until Run is about to end.
func (b *Broker) watchCertificates() {
	if !slices.ContainsFunc(b.listeners, func(ln *listener) bool { return ln.certificates != nil }) {
		return
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		b.log.Warn("certificates are not watched, and reloaded on SIGHUP only", "err", err)
		return
	}
	defer watcher.Close()
	b.watchDirs(watcher)
	due := time.NewTimer(0) // for what changed before the watch began
	defer due.Stop()
	waiting := true
	for {
		select {
		case <-b.stopping:
			return
		case _, ok := <-watcher.Events:
			if !ok {
				return
			}
		case _, ok := <-watcher.Errors: // such as lost events
			if !ok {
				return
			}
		case <-due.C:
			waiting = false
			b.reloadCertificates()
			b.watchDirs(watcher)
			continue
		}
		if !waiting {
			waiting = true
			due.Reset(settle)
		}
	}
}

// reloadCertificates reloads those that changed, and logs what came of it.
func (b *Broker) reloadCertificates() {
	b.reloading.Lock()
	defer b.reloading.Unlock()
	for i, ln := range b.listeners {
		if ln.certificates == nil {
			continue
		}
		changed, err := ln.certificates.reload(false)
		if err != nil {
			b.log.Error("new certificate not taken; the one before stays", "err", inListener(i, err))
		} else if changed {
			b.log.Info("certificate reloaded", "address", ln.Addr().String(), "file", ln.certificates.settings.TLSCert)
		}
	}
}

// watchDirs watches the directories that the files' names lead through. Those
// watched already are not watched twice.
func (b *Broker) watchDirs(watcher *fsnotify.Watcher) {
	for _, ln := range b.listeners {
		if ln.certificates == nil {
			continue
		}
		s := ln.certificates.settings
		for _, path := range []string{s.TLSCert, s.TLSKey, s.ClientCA} {
			for _, dir := range dirsOf(path) {
				_ = watcher.Add(dir) // one that is gone is another one next time
			}
		}
	}
}

// dirsOf returns the directories in which an entry that leads to the file at
// path may be replaced: its own, and that of each symbolic link on the way.
func dirsOf(path string) []string {
	if path == "" {
		return nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	dirs := []string{filepath.Dir(path)}
	for range 40 { // as many links as Linux follows (path_resolution(7))
		link := firstLink(path)
		if link == "" {
			break
		}
		target, err := os.Readlink(link)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		dirs = append(dirs, filepath.Dir(link))
		path = filepath.Join(target, path[len(link):])
		dirs = append(dirs, filepath.Dir(path))
	}
	return dirs
}

// firstLink returns the first part of path that is a symbolic link, or "".
func firstLink(path string) string {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != filepath.Separator {
			continue
		}
		if info, err := os.Lstat(path[:i]); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return path[:i]
		}
	}
	return ""
}
