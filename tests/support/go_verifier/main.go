// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: Apache-2.0

// Verifies checkpoints and proofs with golang.org/x/mod/sumdb, which knows nothing of the auditor.
//
// One question in JSON per line on standard input, one answer per line: "ok", or why not.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
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
	newest, err := open(question.Checkpoint, verifier)
	if err != nil {
		return err
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
