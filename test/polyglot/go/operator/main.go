// An operator's client of RSPP in Go, over nothing but the generated stubs: watches snapshots and acknowledges each, publishes
// two versions and a rollout that gives all callers the second, asks for a route, drains the runtime until no route leads to
// it, lets it take calls again, and prints what it saw as one JSON object.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	registryv1 "rspp.test/polyglot/gen/rspp/registry/v1"
)

type result struct {
	OK       bool    `json:"ok"`
	Error    *string `json:"error"`
	Pipeline string  `json:"pipeline"`
	Routed   string  `json:"routed"`
	Refused  string  `json:"refused"`
	Again    bool    `json:"again"`
	Rising   bool    `json:"rising"`
}

func main() {
	registry := flag.String("registry", "", "host:port")
	specs := flag.String("specs", "", "two versions of a PipelineSpec, YAML, with a comma between")
	tenant := flag.String("tenant", "local", "tenant")
	flag.Parse()
	out := result{}
	if err := operate(*registry, strings.Split(*specs, ","), *tenant, &out); err != nil {
		text := err.Error()
		out.Error = &text
	}
	out.OK = out.Error == nil
	_ = json.NewEncoder(os.Stdout).Encode(out)
}

func operate(address string, specs []string, tenant string, out *result) error {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	registry := registryv1.NewRegistryServiceClient(conn)
	fleet := registryv1.NewFleetServiceClient(conn)
	watch, err := startWatch(ctx, registryv1.NewSnapshotServiceClient(conn), "routing", "rollout")
	if err != nil {
		return err
	}
	name := ""
	for _, file := range specs {
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		published, err := registry.PublishPipeline(ctx, &registryv1.PublishPipelineRequest{
			TenantId: tenant, Source: source, SourceFormat: "yaml", Author: "go",
		})
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		name = published.Version.Name
		out.Pipeline = fmt.Sprintf("%s@%d", name, published.Version.Version)
	}
	_, err = registryv1.NewArtifactServiceClient(conn).PublishArtifact(ctx, &registryv1.PublishArtifactRequest{
		TenantId: tenant, Kind: registryv1.ArtifactKind_ARTIFACT_KIND_ROLLOUT, Author: "go",
		Source: fmt.Appendf(nil, "schema: rspp/rollout/v1\nrollout: %s\nstable: 1\ncanary: {version: 2, percent: 100}\n", name),
	})
	if err != nil {
		return fmt.Errorf("rollout: %w", err)
	}
	err = watch.until("rollout", func(content []byte) bool {
		var it registryv1.RolloutSnapshot
		_ = proto.Unmarshal(content, &it)
		for _, document := range it.Rollouts {
			if document.Name == name {
				return true
			}
		}
		return false
	})
	if err != nil {
		return err
	}
	route := func() (*registryv1.SessionRoute, error) {
		answer, err := registry.CreateRoute(ctx, &registryv1.CreateRouteRequest{
			TenantId: tenant, PipelineName: name, Transport: "link",
			IdempotencyKey: fmt.Sprintf("route-%d", time.Now().UnixNano()),
		})
		return answer.GetRoute(), err
	}
	routed, err := route()
	if err != nil {
		return fmt.Errorf("route: %w", err)
	}
	out.Routed = fmt.Sprintf("%s@%d", routed.Pipeline.Name, routed.Pipeline.Version)
	runtime := routed.InstanceId
	draining := func(wanted bool) error {
		return watch.until("routing", func(content []byte) bool {
			var it registryv1.RoutingSnapshot
			_ = proto.Unmarshal(content, &it)
			for _, instance := range it.GetView().GetInstances() {
				if instance.InstanceId == runtime && instance.Draining == wanted {
					return true
				}
			}
			return false
		})
	}
	if _, err = fleet.DrainInstance(ctx, &registryv1.DrainInstanceRequest{InstanceId: runtime, Actor: "go", Reason: "test"}); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	if err = draining(true); err != nil {
		return err
	}
	_, refused := route()
	out.Refused = status.Code(refused).String()
	if _, err = fleet.UndrainInstance(ctx, &registryv1.UndrainInstanceRequest{InstanceId: runtime, Actor: "go"}); err != nil {
		return fmt.Errorf("undrain: %w", err)
	}
	if err = draining(false); err != nil {
		return err
	}
	for attempt := 0; attempt < 100 && !out.Again; attempt++ {
		again, err := route()
		out.Again = err == nil && again.InstanceId == runtime
		if !out.Again {
			time.Sleep(100 * time.Millisecond)
		}
	}
	out.Rising = watch.rising()
	return nil
}

// Snapshots of the control plane: the newest of each kind, every one acknowledged.
type watch struct {
	lock     sync.Mutex
	newest   map[string][]byte
	versions map[string][]int
	changed  chan struct{}
	err      error
}

func startWatch(ctx context.Context, client registryv1.SnapshotServiceClient, kinds ...string) (*watch, error) {
	stream, err := client.WatchSnapshots(ctx)
	if err != nil {
		return nil, err
	}
	me := fmt.Sprintf("go-%d", time.Now().UnixNano())
	if err = stream.Send(&registryv1.WatchSnapshotsRequest{InstanceId: me, Kinds: kinds}); err != nil {
		return nil, err
	}
	w := &watch{newest: map[string][]byte{}, versions: map[string][]int{}, changed: make(chan struct{}, 1)}
	go func() {
		for {
			answer, err := stream.Recv()
			if err == nil && answer.Unchanged {
				// The version is still the newest: no answer is wanted.
				continue
			}
			if err == nil {
				err = stream.Send(&registryv1.WatchSnapshotsRequest{
					InstanceId: me, Nonce: answer.Nonce, AcceptedVersion: answer.Snapshot.Version,
				})
			}
			w.lock.Lock()
			if err != nil {
				w.err = err
			} else {
				_, number, _ := strings.Cut(answer.Snapshot.Version, "@")
				count, _ := strconv.Atoi(number)
				w.versions[answer.Snapshot.Kind] = append(w.versions[answer.Snapshot.Kind], count)
				w.newest[answer.Snapshot.Kind] = answer.Content
			}
			w.lock.Unlock()
			select {
			case w.changed <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return w, nil
}

func (w *watch) until(kind string, holds func([]byte) bool) error {
	late := time.After(20 * time.Second)
	for {
		w.lock.Lock()
		content, there := w.newest[kind]
		err := w.err
		w.lock.Unlock()
		if there && holds(content) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		select {
		case <-w.changed:
		case <-late:
			return errors.New(kind + ": the snapshot did not come within 20 s")
		}
	}
}

func (w *watch) rising() bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	for _, versions := range w.versions {
		for i := 1; i < len(versions); i++ {
			if versions[i] < versions[i-1] {
				return false
			}
		}
	}
	return len(w.versions) > 0
}
