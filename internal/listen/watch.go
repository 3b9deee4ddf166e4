package listen

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long after the first change the files of a certificate are
// read, since its key is replaced a moment before it or after it.
const settle = 500 * time.Millisecond

// Watch reloads certificates when their files change, until ctx ends, and logs
// what came of it. Each is named by the place of its settings, as listener[0].
func Watch(ctx context.Context, all map[string]*Certificates, log *slog.Logger) {
	if len(all) == 0 {
		return
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("certificates are not watched, and reloaded on SIGHUP only", "err", err)
		return
	}
	defer watcher.Close()
	watchDirs(watcher, all)
	due := time.NewTimer(0) // for what changed before the watch began
	defer due.Stop()
	waiting := true
	for {
		select {
		case <-ctx.Done():
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
			reloadChanged(all, log)
			watchDirs(watcher, all)
			continue
		}
		if !waiting {
			waiting = true
			due.Reset(settle)
		}
	}
}

// reloadChanged reloads those whose files changed.
func reloadChanged(all map[string]*Certificates, log *slog.Logger) {
	for place, c := range all {
		changed, err := c.reload(false)
		if err != nil {
			log.Error("new certificate not taken; the one before stays", "err", fmt.Errorf("%s.%w", place, err))
		} else if changed {
			log.Info("certificate reloaded", "of", place, "file", c.files.Cert)
		}
	}
}

// watchDirs watches the directories that the files' names lead through. Those
// watched already are not watched twice.
func watchDirs(watcher *fsnotify.Watcher, all map[string]*Certificates) {
	for _, c := range all {
		for _, path := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
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
