// Makes estargz.tar.gz out of layer.tar with the library of
// stargz-snapshotter, and reads it back with the same library.
//
// Usage: GO111MODULE=off GOPATH=/usr/share/gocode go run estargz.go
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"

	"github.com/containerd/stargz-snapshotter/estargz"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	// Build splits its work by this number, which shows in its output.
	runtime.GOMAXPROCS(2)

	layer, err := os.Open("layer.tar")
	check(err)
	defer layer.Close()
	info, err := layer.Stat()
	check(err)

	blob, err := estargz.Build(
		io.NewSectionReader(layer, 0, info.Size()),
		estargz.WithChunkSize(16*1024),
		estargz.WithCompressionLevel(6),
		estargz.WithPrioritizedFiles([]string{"usr/lib/noise.bin"}),
	)
	check(err)
	out, err := os.Create("estargz.tar.gz")
	check(err)
	_, err = io.Copy(out, blob)
	check(err)
	check(blob.Close())
	check(out.Close())

	// The size of the whole decompressed stream, TOC entry included.
	compressed, err := os.Open("estargz.tar.gz")
	check(err)
	info, err = compressed.Stat()
	check(err)
	section := io.NewSectionReader(compressed, 0, info.Size())
	stream, err := new(estargz.GzipDecompressor).Reader(section)
	check(err)
	size, err := io.Copy(io.Discard, stream)
	check(err)

	annotations, err := json.MarshalIndent(map[string]string{
		estargz.TOCJSONDigestAnnotation:         blob.TOCDigest().String(),
		estargz.StoreUncompressedSizeAnnotation: fmt.Sprint(size),
	}, "", "  ")
	check(err)
	check(os.WriteFile("estargz.annotations.json", append(annotations, '\n'), 0o644))

	// The library must take its own work, digests and all.
	reader, err := estargz.Open(section)
	check(err)
	_, err = reader.VerifyTOC(blob.TOCDigest())
	check(err)
	fmt.Println("DiffID", blob.DiffID())
	fmt.Println("TOC digest", blob.TOCDigest())
}
