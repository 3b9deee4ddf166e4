package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
)

// page is the console, as console/build.mjs makes it.
//
//go:embed console/dist
var page embed.FS

// pageTypes are the files of the page.
var pageTypes = map[string]string{
	"index.html":  "text/html; charset=utf-8",
	"console.js":  "text/javascript; charset=utf-8",
	"console.css": "text/css; charset=utf-8",
	"icon.svg":    "image/svg+xml",
}

// An asset is a file of the page, as it is and compressed.
type asset struct {
	kind, tag     string
	plain, zipped []byte
}

// assets are the files of the page by their paths; compressed once, when first
// asked for.
var assets = sync.OnceValues(func() (map[string]asset, error) {
	all := map[string]asset{}
	for name, kind := range pageTypes {
		text, err := page.ReadFile(path.Join("console/dist", name))
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(text); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		all["/"+strings.TrimSuffix(name, "index.html")] = asset{kind, `"` + hex.EncodeToString(sum[:8]) + `"`, text, b.Bytes()}
	}
	return all, nil
})

// servePage serves the console. A browser keeps its files, and asks each time
// whether they are still the same.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, _ string) {
	all, err := assets()
	if err != nil {
		http.Error(w, fmt.Sprintf("no page: %v", err), http.StatusInternalServerError)
		return
	}
	a, ok := all[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", a.tag)
	if r.Header.Get("If-None-Match") == a.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.kind)
	text := a.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		text = a.zipped
	}
	_, _ = w.Write(text) // the client may be gone
}
