package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

func TestArchiveHoldsItsFilesAndNothingOfTheMachine(t *testing.T) {
	modified := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	files := []file{{"program", 0o755, []byte("binary")}, {"LICENSE", 0o644, bytes.Repeat([]byte("text "), 1000)}}
	archived, err := archive("p_v1", modified, files)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(archived))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("gzip header %+v", z.Header)
	}
	r := tar.NewReader(z)
	for _, f := range files {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(content, f.content) {
			t.Errorf("%s: %d bytes, %v", h.Name, len(content), err)
		}
		if h.Name != "p_v1/"+f.name || h.Mode != f.mode || !h.ModTime.Equal(modified) ||
			h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("header %+v", h)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last file: %v", err)
	}
}

func TestBillOfMaterialsListsEveryModule(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8",
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.2.3", Sum: "h1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
			{Path: "example.com/b", Version: "v2.0.0",
				Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.0+incompatible"}},
		},
		Settings: []debug.BuildSetting{{Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}},
	}
	bill, err := billOfMaterials("v9.8.7", []byte("binary"), info)
	if err != nil {
		t.Fatal(err)
	}
	var b bom
	if err := json.Unmarshal(bill, &b); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("binary"))
	c := b.Metadata.Component
	if c.PURL != "pkg:golang/"+module+"@v9.8.7" || c.Hashes[0].Content != hex.EncodeToString(sum[:]) {
		t.Errorf("the program: %+v", c)
	}
	if b.Metadata.Timestamp != "2026-01-02T03:04:05Z" {
		t.Errorf("timestamp %q", b.Metadata.Timestamp)
	}
	var purls []string
	for _, c := range b.Components {
		purls = append(purls, c.PURL)
	}
	const wantURLs = "pkg:golang/std@1.26.8 pkg:golang/example.com/a@v1.2.3 " +
		"pkg:golang/example.com/c@v2.0.0%2Bincompatible"
	if got, want := strings.Join(purls, " "), wantURLs; got != want {
		t.Errorf("components\n%s, want\n%s", got, want)
	}
	got, want := b.Components[1].Hashes[0].Content, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	if got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

func TestATargetWithoutArchitectureIsRefused(t *testing.T) {
	err := release("v1", []string{"linux"}, filepath.Join(t.TempDir(), "dist"))
	if err == nil || !strings.Contains(err.Error(), `"linux"`) {
		t.Error(err)
	}
}

// The files that lie beside the program are where a release is made.
func TestWhatLiesBesideTheProgramExists(t *testing.T) {
	for _, name := range besides {
		if _, err := os.Stat(filepath.Join("../../..", name)); err != nil {
			t.Error(err)
		}
	}
}
