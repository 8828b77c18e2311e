// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: Apache-2.0

// Verifies checkpoints and proofs with golang.org/x/mod/sumdb, which knows nothing of the auditor.
//
// One question in JSON per line on standard input, one answer per line: "ok", or why not.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Question holds a signed head and what is claimed of it; absent claims are not checked.
type Question struct {
	VerifierKey string      `json:"verifier_key"`
	Checkpoint  string      `json:"checkpoint"`
	Leaf        []byte      `json:"leaf"`
	Index       int64       `json:"index"`
	Inclusion   []tlog.Hash `json:"inclusion"`
	Older       string      `json:"older"`
	Consistency []tlog.Hash `json:"consistency"`
	// A directory in the layout of C2SP tlog-tiles: every entry is compared with the tree.
	Tiles string `json:"tiles"`
	// A C2SP tlog-proof, instead of checkpoint, leaf, index and inclusion.
	Proof string `json:"proof"`
	// The verifier key of a witness that has to have cosigned the checkpoint.
	Witness string `json:"witness"`
}

type head struct {
	size int64
	root tlog.Hash
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		if err := answer(line); err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
}

func answer(line []byte) error {
	var question Question
	if err := json.Unmarshal(line, &question); err != nil {
		return err
	}
	verifier, err := note.NewVerifier(question.VerifierKey)
	if err != nil {
		return err
	}
	if question.Tiles != "" {
		return checkTiles(question.Tiles, verifier)
	}
	if question.Proof != "" {
		if err := readProof(&question); err != nil {
			return err
		}
	}
	newest, err := open(question.Checkpoint, verifier)
	if err != nil {
		return err
	}
	if question.Witness != "" {
		if err := checkCosigned(question.Checkpoint, question.Witness); err != nil {
			return err
		}
	}
	if question.Leaf != nil {
		leaf := tlog.RecordHash(question.Leaf)
		err = tlog.CheckRecord(question.Inclusion, newest.size, newest.root, question.Index, leaf)
		if err != nil {
			return fmt.Errorf("inclusion: %w", err)
		}
	}
	if question.Older != "" {
		older, err := open(question.Older, verifier)
		if err != nil {
			return err
		}
		err = tlog.CheckTree(question.Consistency, newest.size, newest.root, older.size, older.root)
		if err != nil {
			return fmt.Errorf("consistency: %w", err)
		}
	}
	return nil
}

func open(checkpoint string, verifier note.Verifier) (head, error) {
	opened, err := note.Open([]byte(checkpoint), note.VerifierList(verifier))
	if err != nil {
		return head{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 3 || lines[0] != verifier.Name() {
		return head{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return head{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return head{}, errors.New("malformed root")
	}
	found := head{size: size}
	copy(found.root[:], root)
	return found, nil
}

// readProof takes apart what c2sp.org/tlog-proof describes; the record is in the extra data.
func readProof(question *Question) error {
	head, checkpoint, found := strings.Cut(question.Proof, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a tlog-proof")
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	var record struct {
		Leaf string `json:"leaf"`
	}
	if err := json.Unmarshal(extra, &record); err != nil {
		return err
	}
	question.Leaf = []byte(record.Leaf)
	question.Index, err = strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	question.Inclusion = nil
	for _, line := range lines[3:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(hash) != tlog.HashSize {
			return errors.New("malformed hash")
		}
		question.Inclusion = append(question.Inclusion, tlog.Hash(*(*[tlog.HashSize]byte)(hash)))
	}
	question.Checkpoint = checkpoint
	return nil
}

// cosigner verifies cosignature/v1 (c2sp.org/tlog-cosignature) as a signature of a note.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }

func (c cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	return ed25519.Verify(c.key, []byte(signed), signature[8:])
}

func checkCosigned(checkpoint, key string) error {
	parts := strings.SplitN(key, "+", 3)
	if len(parts) != 3 {
		return errors.New("malformed witness key")
	}
	material, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(material) != 1+ed25519.PublicKeySize || material[0] != 4 {
		return errors.New("not the key of a witness")
	}
	digest := sha256.Sum256(append([]byte(parts[0]+"\n"), material...))
	hash := binary.BigEndian.Uint32(digest[:4])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		return errors.New("the witness key's id does not fit")
	}
	_, err = note.Open([]byte(checkpoint), note.VerifierList(cosigner{parts[0], hash, material[1:]}))
	return err
}

// directory reads the tiles of c2sp.org/tlog-tiles, which has no height in its paths.
type directory string

func (d directory) Height() int                                { return 8 }
func (d directory) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (d directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := filepath.Join(string(d), "tile", strings.TrimPrefix(tile.Path(), "tile/8/"))
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found[i] = data
	}
	return found, nil
}

func checkTiles(path string, verifier note.Verifier) error {
	checkpoint, err := os.ReadFile(filepath.Join(path, "checkpoint"))
	if err != nil {
		return err
	}
	newest, err := open(string(checkpoint), verifier)
	if err != nil {
		return err
	}
	tree := tlog.Tree{N: newest.size, Hash: newest.root}
	reader := tlog.TileHashReader(tree, directory(path))
	for first := int64(0); first < newest.size; first += 256 {
		width := newest.size - first
		if width > 256 {
			width = 256
		}
		tile := tlog.Tile{H: 8, L: 0, N: first / 256, W: int(width)}
		name := strings.TrimPrefix(tile.Path(), "tile/8/0/")
		bundle, err := os.ReadFile(filepath.Join(path, "tile", "entries", name))
		if err != nil {
			return err
		}
		for index := first; index < first+width; index++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return errors.New("the entry bundle is too short")
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			entry := bundle[2:end]
			bundle = bundle[end:]
			hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
			if err != nil {
				return err
			}
			hash := tlog.RecordHash(entry)
			if !bytes.Equal(hashes[0][:], hash[:]) {
				return fmt.Errorf("entry %d is not the one in the tree", index)
			}
		}
		if len(bundle) != 0 {
			return errors.New("the entry bundle is too long")
		}
	}
	for _, index := range []int64{0, newest.size / 2, newest.size - 1} {
		proof, err := tlog.ProveRecord(newest.size, index, reader)
		if err != nil {
			return err
		}
		hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, newest.size, newest.root, index, hashes[0]); err != nil {
			return err
		}
	}
	return nil
}
