package realtest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// OpenPage shows the page at url in a browser without a screen until the test
// ends. The browser reaches nothing but this machine, and takes the servers'
// certificates in certFiles, whoever signed them.
func OpenPage(t testing.TB, url string, certFiles ...string) {
	t.Helper()
	var keys []string
	for _, file := range certFiles {
		keys = append(keys, keyHash(t, file))
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Need(t, "chromium"),
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-sync",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--user-data-dir="+profile,
		"--ignore-certificate-errors-spki-list="+strings.Join(keys, ","),
		url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has many processes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
		_ = cmd.Wait()
		// Its other processes are not waited for, and may still write.
		Eventually(t, patience, "the browser's profile to go", func() bool { return os.RemoveAll(profile) == nil })
	})
}

// keyHash is how the browser names a certificate's key.
func keyHash(t testing.TB, certFile string) string {
	t.Helper()
	text, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
