// A client of RSPP in Go, over nothing but the stubs generated from the protos: publishes a pipeline, asks for a route,
// holds a session over a link, says a WAV file in real time, reads the timeline, and prints what happened as JSON.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	commonv1 "rspp.test/polyglot/gen/rspp/common/v1"
	leasev1 "rspp.test/polyglot/gen/rspp/lease/v1"
	registryv1 "rspp.test/polyglot/gen/rspp/registry/v1"
	replayv1 "rspp.test/polyglot/gen/rspp/replay/v1"
)

type result struct {
	OK         bool              `json:"ok"`
	Error      *string           `json:"error"`
	Pipeline   string            `json:"pipeline"`
	Unchanged  bool              `json:"unchanged"`
	Session    string            `json:"session"`
	Epoch      uint64            `json:"epoch"`
	Finals     []string          `json:"finals"`
	HeardUs    map[uint32]uint64 `json:"heard_us"`
	Signals    []Signal          `json:"signals"`
	AfterFlush int               `json:"after_flush"`
	Timeline   map[string]int    `json:"timeline"`
}

func main() {
	registry := flag.String("registry", "", "host:port")
	lease := flag.String("lease", "", "host:port")
	replay := flag.String("replay", "", "host:port")
	spec := flag.String("spec", "", "PipelineSpec, YAML")
	wav := flag.String("wav", "", "what is said: 16 kHz, mono, 16 bit")
	tenant := flag.String("tenant", "local", "tenant")
	transcript := flag.String("transcript", "", "what the simulated recogniser is told")
	greets := flag.Bool("greets", false, "the agent speaks first")
	flag.Parse()
	outcome, err := run(*registry, *lease, *replay, *spec, *wav, *tenant, *transcript, *greets)
	if err != nil {
		text := err.Error()
		outcome.Error = &text
	}
	outcome.OK = err == nil
	_ = json.NewEncoder(os.Stdout).Encode(outcome)
	if err != nil {
		os.Exit(1)
	}
}

func run(registryAt, leaseAt, replayAt, spec, wav, tenant, transcript string, greets bool) (result, error) {
	out := result{Finals: []string{}, Signals: []Signal{}, HeardUs: map[uint32]uint64{}, Timeline: map[string]int{}}
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	conns := map[string]*grpc.ClientConn{}
	for _, address := range []string{registryAt, leaseAt, replayAt} {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return out, err
		}
		defer conn.Close()
		conns[address] = conn
	}
	frames, err := readWav(wav)
	if err != nil {
		return out, err
	}
	source, err := os.ReadFile(spec)
	if err != nil {
		return out, err
	}
	registry := registryv1.NewRegistryServiceClient(conns[registryAt])
	published, err := registry.PublishPipeline(ctx, &registryv1.PublishPipelineRequest{
		TenantId: tenant, Source: source, SourceFormat: "yaml", Author: "go",
	})
	if err != nil {
		return out, fmt.Errorf("publish: %w", err)
	}
	out.Unchanged = published.Unchanged
	ask := &registryv1.CreateRouteRequest{
		TenantId: tenant, PipelineName: published.Version.Name, PipelineVersion: published.Version.Version,
		Transport: "link", IdempotencyKey: unique("route"),
	}
	if transcript != "" {
		ask.Variables, err = structpb.NewStruct(map[string]any{"sim_transcripts": []any{transcript}})
		if err != nil {
			return out, err
		}
	}
	routed, err := registry.CreateRoute(ctx, ask)
	if err != nil {
		return out, fmt.Errorf("route: %w", err)
	}
	route := routed.Route
	out.Session = route.Session.SessionId
	out.Pipeline = fmt.Sprintf("%s@%d", route.Pipeline.Name, route.Pipeline.Version)
	granted, err := leasev1.NewLeaseServiceClient(conns[leaseAt]).GrantLease(ctx, &leasev1.GrantLeaseRequest{
		Session: route.Session, HolderId: route.InstanceId, IdempotencyKey: unique("grant"),
		Receivers: []*leasev1.Receiver{{ReceiverId: "go-client", Kind: leasev1.ReceiverKind_RECEIVER_KIND_ADAPTER}},
	})
	if err != nil {
		return out, fmt.Errorf("lease: %w", err)
	}
	out.Epoch = granted.Lease.Grant.Epoch
	_, address, _ := strings.Cut(route.Endpoint.Url, "://")
	session, err := Open(ctx, Opening{
		Address: address, Key: route.Session, PipelineVersion: out.Pipeline, Token: route.Token, Grant: granted.Signed, Epoch: out.Epoch,
	})
	if err != nil {
		return out, fmt.Errorf("open: %w", err)
	}
	turns := 0
	if greets {
		turns = 1
		if err = talk(session, nil, 0); err != nil {
			return out, fmt.Errorf("greeting: %w", err)
		}
	}
	talked := talk(session, frames, turns)
	session.Close()
	out.Finals, out.Signals, out.HeardUs, out.AfterFlush = session.Finals, session.Signals, session.HeardUs, session.AfterFlush
	if talked != nil {
		return out, fmt.Errorf("turn: %w", talked)
	}
	out.Timeline, err = timeline(ctx, replayv1.NewTimelineServiceClient(conns[replayAt]), route.Session, turns+1)
	return out, err
}

// Says frames, then silence, in real time, until the turn that they open has closed and been heard.
func talk(session *Session, frames [][]byte, before int) error {
	silence := make([]byte, frameBytes)
	start := time.Now()
	for sent := 0; session.Over() <= before; {
		if err := session.Err(); err != nil {
			return err
		}
		if time.Since(start) > 60*time.Second {
			return errors.New("no turn was over within 60 s")
		}
		for due := int(time.Since(start).Milliseconds()/20) + 1; sent < due; sent++ {
			if sent < len(frames) {
				session.Speak(frames[sent])
			} else {
				session.Speak(silence)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// Record kinds by number, once the evidence of so many turns has arrived.
func timeline(ctx context.Context, replay replayv1.TimelineServiceClient, key *commonv1.SessionKey, turns int) (map[string]int, error) {
	kinds := map[string]int{}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		stream, err := replay.ReadTimeline(ctx, &replayv1.ReadTimelineRequest{Session: key})
		if err != nil {
			return kinds, err
		}
		kinds = map[string]int{}
		for {
			part, err := stream.Recv()
			if errors.Is(err, io.EOF) || status.Code(err) == codes.NotFound {
				break
			}
			if err != nil {
				return kinds, fmt.Errorf("timeline: %w", err)
			}
			for _, record := range part.Records {
				reflected := record.ProtoReflect()
				body := reflected.WhichOneof(reflected.Descriptor().Oneofs().ByName("body"))
				kinds[string(body.Name())]++
			}
		}
		if kinds["evidence"] >= turns {
			return kinds, nil
		}
	}
	return kinds, errors.New("timeline: the evidence did not arrive within 20 s")
}

func readWav(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) < 44 || string(data[:4]) != "RIFF" || binary.LittleEndian.Uint32(data[24:]) != rateHz {
		return nil, fmt.Errorf("%s is no 16 kHz WAV file", path)
	}
	at := strings.Index(string(data), "data")
	if at < 0 {
		return nil, fmt.Errorf("%s has no samples", path)
	}
	pcm := data[at+8:]
	pcm = append(pcm, make([]byte, (frameBytes-len(pcm)%frameBytes)%frameBytes)...)
	frames := [][]byte{}
	for from := 0; from < len(pcm); from += frameBytes {
		frames = append(frames, pcm[from:from+frameBytes])
	}
	return frames, nil
}

func unique(what string) string { return fmt.Sprintf("%s-%d", what, time.Now().UnixNano()) }
