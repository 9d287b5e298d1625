// stylize PHOTO STYLE_PICTURE OUT_FOLDER
// Environment: STYLEWIRE_TARGET, STYLEWIRE_CA (a PEM file turns TLS on), STYLEWIRE_TOKEN.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	pb "stylewire/v1"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	transport := grpc.WithInsecure()
	if ca := os.Getenv("STYLEWIRE_CA"); ca != "" {
		transport = grpc.WithTransportCredentials(must(credentials.NewClientTLSFromFile(ca, "")))
	}
	large := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20))
	client := pb.NewStylizerClient(must(grpc.Dial(os.Getenv("STYLEWIRE_TARGET"), transport, large)))
	ctx := context.Background()
	if token := os.Getenv("STYLEWIRE_TOKEN"); token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	picture := func(path string) *pb.Image {
		return &pb.Image{Kind: &pb.Image_Encoded{Encoded: must(os.ReadFile(path))}}
	}
	content, out := picture(os.Args[1]), os.Args[3]
	style := []*pb.WeightedStyle{{Source: &pb.WeightedStyle_Image{Image: picture(os.Args[2])}}}
	named := []*pb.WeightedStyle{{Source: &pb.WeightedStyle_Name{Name: "go-example"}}}

	// A style kept under a name, then used by it; and a blend with the picture itself, in equal parts.
	own := []*pb.WeightedStyle{{Source: &pb.WeightedStyle_Image{Image: content}}}
	must(client.CreateStyle(ctx, &pb.CreateStyleRequest{Name: "go-example", Styles: style, Overwrite: true}))
	for name, styles := range map[string][]*pb.WeightedStyle{"named": named, "blend": append(own, named...)} {
		answer := must(client.Stylize(ctx, &pb.StylizeRequest{Content: content, Styles: styles}))
		must(0, os.WriteFile(filepath.Join(out, name+".jpg"), answer.Image.GetEncoded(), 0o644))
	}

	// Twenty frames over one stream: the first message carries the style, the others a picture each.
	stream := must(client.StylizeStream(ctx))
	setup := &pb.StylizeStreamRequest_Setup{Setup: &pb.StreamSetup{Styles: named}}
	must(0, stream.Send(&pb.StylizeStreamRequest{Kind: setup}))
	go func() {
		for frame := 0; frame < 20; frame++ {
			stream.Send(&pb.StylizeStreamRequest{Kind: &pb.StylizeStreamRequest_Content{Content: content}})
		}
		stream.CloseSend()
	}()
	frames := 0
	for _, err := stream.Recv(); err != io.EOF; _, err = stream.Recv() {
		must(0, err)
		frames++
	}
	fmt.Println("frames", frames)

	// A deadline that cannot be met, a call that is canceled, and the details of an error.
	short, stop := context.WithTimeout(ctx, time.Millisecond)
	_, err := client.Stylize(short, &pb.StylizeRequest{Content: content, Styles: style})
	fmt.Println("deadline", status.Code(err))
	stop()
	canceled, cancel := context.WithCancel(ctx)
	time.AfterFunc(2*time.Millisecond, cancel)
	_, err = client.Stylize(canceled, &pb.StylizeRequest{Content: content, Styles: style})
	fmt.Println("cancel", status.Code(err))
	wrong := float32(2)
	options := &pb.StylizeOptions{Strength: &wrong}
	_, err = client.Stylize(ctx, &pb.StylizeRequest{Content: content, Styles: style, Options: options})
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.BadRequest:
			fmt.Println("field", detail.FieldViolations[0].Field, "-", detail.FieldViolations[0].Description)
		case *errdetails.RetryInfo:
			fmt.Println("retry after", detail.RetryDelay)
		}
	}
}
