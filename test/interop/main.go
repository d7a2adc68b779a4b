// Command interop verifies notes, proofs and files of test/interop/main.ts with the Go packages of the field. It reads one JSON
// request a line from the standard input and writes one JSON result a line. Nothing in it is shared with the TypeScript library.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

type request struct {
	// note, inclusion, consistency, file or sign.
	Check string

	// note, file: UTF-8 in base64, and the verifier keys.
	Text  []byte
	Vkeys []string

	// inclusion
	Index    uint64
	LeafHash []byte
	// consistency
	OldSize uint64
	OldRoot []byte
	// both
	Size  uint64
	Root  []byte
	Proof [][]byte

	// sign: signs Text with a new key of this name.
	Name string
}

type result struct {
	// Empty if the verification succeeded.
	Error string `json:"error"`
	// note: the text. sign: the signed note. file: the record.
	Text string `json:"text,omitempty"`
	// note, file: the names of the keys that signed it. sign: the verifier key.
	Keys []string `json:"keys,omitempty"`
}

func main() {
	requests := json.NewDecoder(os.Stdin)
	results := json.NewEncoder(os.Stdout)
	for {
		var r request
		if err := requests.Decode(&r); err == io.EOF {
			return
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "Cannot read a request:", err)
			os.Exit(1)
		}
		text, keys, err := run(r)
		found := result{Text: text, Keys: keys}
		if err != nil {
			found = result{Error: err.Error()}
		}
		if err := results.Encode(found); err != nil {
			fmt.Fprintln(os.Stderr, "Cannot write a result:", err)
			os.Exit(1)
		}
	}
}

func run(r request) (string, []string, error) {
	switch r.Check {
	case "note":
		return openNote(r.Text, r.Vkeys)
	case "file":
		return openFile(r.Text, r.Vkeys)
	case "inclusion":
		return "", nil, proof.VerifyInclusion(rfc6962.DefaultHasher, r.Index, r.Size, r.LeafHash, r.Proof, r.Root)
	case "consistency":
		return "", nil, proof.VerifyConsistency(rfc6962.DefaultHasher, r.OldSize, r.Size, r.Proof, r.OldRoot, r.Root)
	case "sign":
		return sign(r.Name, string(r.Text))
	}
	return "", nil, fmt.Errorf("unknown check %q", r.Check)
}

func openNote(text []byte, vkeys []string) (string, []string, error) {
	var verifiers []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", vkey, err)
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(text, note.VerifierList(verifiers...))
	if err != nil {
		return "", nil, err
	}
	var names []string
	for _, sig := range opened.Sigs {
		names = append(names, fmt.Sprintf("%s+%08x", sig.Name, sig.Hash))
	}
	return opened.Text, names, nil
}

func sign(name, text string) (string, []string, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", nil, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return "", nil, err
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	return string(signed), []string{vkey}, err
}

// The extra data of a proof: see src/core/transparency-log/tlog-proof.ts.
type extra struct {
	Entry  string
	Record []byte
	Row    struct {
		Index uint64
		Count uint64
		Path  [][]byte
	}
}

// The part of a ledger entry's text that a proof needs: see docs/ledger.md.
type entry struct {
	Rows     uint64 `json:"rows"`
	RowsRoot string `json:"rows_root"`
}

// openFile verifies a c2sp.org/tlog-proof file and returns the record that it proves.
func openFile(text []byte, vkeys []string) (string, []string, error) {
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return "", nil, errors.New("not a tlog-proof with extra data")
	}
	var row extra
	encoded, hasExtra := strings.CutPrefix(lines[1], "extra ")
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if !hasExtra || err != nil {
		return "", nil, errors.New("no extra data")
	}
	if err := json.Unmarshal(decoded, &row); err != nil {
		return "", nil, err
	}
	number, hasIndex := strings.CutPrefix(lines[2], "index ")
	index, err := strconv.ParseUint(number, 10, 64)
	if !hasIndex || err != nil {
		return "", nil, errors.New("no index")
	}
	var path [][]byte
	for _, line := range lines[3:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(hash) != sha256.Size {
			return "", nil, errors.New("not a hash: " + line)
		}
		path = append(path, hash)
	}
	signed, names, err := openNote([]byte(checkpoint), vkeys)
	if err != nil {
		return "", nil, err
	}
	size, root, err := parseCheckpoint(signed)
	if err != nil {
		return "", nil, err
	}
	hasher := rfc6962.DefaultHasher
	if err := proof.VerifyInclusion(hasher, index, size, hasher.HashLeaf([]byte(row.Entry)), path, root); err != nil {
		return "", nil, fmt.Errorf("entry: %w", err)
	}
	var listed entry
	if err := json.Unmarshal([]byte(row.Entry), &listed); err != nil {
		return "", nil, err
	}
	rowsRoot, err := hex.DecodeString(listed.RowsRoot)
	if err != nil || listed.Rows != row.Row.Count {
		return "", nil, errors.New("the entry has another number of rows")
	}
	leaf := hasher.HashLeaf(row.Record)
	if err := proof.VerifyInclusion(hasher, row.Row.Index, row.Row.Count, leaf, row.Row.Path, rowsRoot); err != nil {
		return "", nil, fmt.Errorf("row: %w", err)
	}
	return string(row.Record), names, nil
}

func parseCheckpoint(text string) (uint64, []byte, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return 0, nil, errors.New("not a checkpoint")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil {
		return 0, nil, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	return size, root, err
}
