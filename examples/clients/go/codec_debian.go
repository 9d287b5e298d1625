//go:build debian

// Debian 12 packages a gRPC that is older than its protobuf. This codec joins the two; with Go modules it is not needed.
package main

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
)

type codec struct{}

func (codec) Name() string                         { return "proto" }
func (codec) Marshal(message any) ([]byte, error)  { return proto.Marshal(message.(proto.Message)) }
func (codec) Unmarshal(data []byte, out any) error { return proto.Unmarshal(data, out.(proto.Message)) }

func init() { encoding.RegisterCodec(codec{}) }
