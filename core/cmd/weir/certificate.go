package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is the server's certificate, read again when its files change. A pair that cannot be used is logged and the old
// one kept, so a bad roll-out does not take the gateway down.
type certificate struct {
	file, key string
	logger    *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time // of the files that current was read from, or that were found unusable
	checked time.Time
}

// certificateCheck is how often, at most, the files are looked at. They are looked at when a client connects.
const certificateCheck = 10 * time.Second

func watchCertificate(path, file, key string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{file: file, key: key, logger: logger}
	pair, err := tls.LoadX509KeyPair(file, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w. certificate_file and key_file must be a pair in PEM form", path, err)
	}
	c.current, c.stamp, c.checked = &pair, c.stamps(), time.Now()
	return c, nil
}

func (c *certificate) stamps() (stamp [2]time.Time) {
	for i, path := range []string{c.file, c.key} {
		if info, err := os.Stat(path); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	return stamp
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certificateCheck {
		return c.current, nil
	}
	c.checked = time.Now()
	if stamp := c.stamps(); stamp != c.stamp {
		c.stamp = stamp
		pair, err := tls.LoadX509KeyPair(c.file, c.key)
		if err != nil {
			c.logger.Error("the new certificate cannot be used; the old one is kept", "error", err)
			return c.current, nil
		}
		c.current = &pair
		c.logger.Info("certificate read again", "file", c.file)
	}
	return c.current, nil
}
