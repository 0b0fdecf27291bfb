package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	commonv1 "rspp.test/polyglot/gen/rspp/common/v1"
	eventv1 "rspp.test/polyglot/gen/rspp/event/v1"
	leasev1 "rspp.test/polyglot/gen/rspp/lease/v1"
	runtimev1 "rspp.test/polyglot/gen/rspp/runtime/v1"
)

const (
	frameUs    = 20_000
	frameBytes = 640
	rateHz     = 16_000
	// ref is odd from an adapter.
	ref = 1
)

// Signal is a control signal as it came.
type Signal struct {
	Turn uint32 `json:"turn"`
	Name string `json:"name"`
}

// Opening is what a session is bound to.
type Opening struct {
	Address         string
	Key             *commonv1.SessionKey
	PipelineVersion string
	Token           string
	Grant           *leasev1.SignedGrant
	Epoch           uint64
}

// Session is one session on one link: both connections of the pair, as a transport adapter holds them.
type Session struct {
	mu         sync.Mutex
	epoch      uint64
	started    time.Time
	conns      []*grpc.ClientConn
	control    grpc.BidiStreamingClient[runtimev1.ControlRequest, runtimev1.ControlResponse]
	media      grpc.BidiStreamingClient[runtimev1.MediaRequest, runtimev1.MediaResponse]
	controlSeq uint32
	dataSeq    uint32
	sentBytes  int
	acted      runtimev1.LaneMarks
	fences     map[uint32]uint32
	ended      int
	opened     chan struct{}
	// Results.
	err        error
	HeardUs    map[uint32]uint64
	Finals     []string
	Signals    []Signal
	AfterFlush int
}

// Open binds a session on a link of its own and asks the runtime to open it.
func Open(ctx context.Context, o Opening) (*Session, error) {
	s := &Session{
		epoch: o.Epoch, started: time.Now(), fences: map[uint32]uint32{}, HeardUs: map[uint32]uint64{}, opened: make(chan struct{}),
	}
	hello := &runtimev1.LinkHello{
		ProtocolVersion: 1, LinkId: fmt.Sprintf("go-%d", time.Now().UnixNano()), Incarnation: 1, PeerId: "go-client", Build: "test",
	}
	// Two channels: control and media are connections of their own.
	for range 2 {
		conn, err := grpc.NewClient(o.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		s.conns = append(s.conns, conn)
	}
	var err error
	if s.control, err = runtimev1.NewLinkServiceClient(s.conns[0]).Control(ctx); err != nil {
		return nil, err
	}
	if s.media, err = runtimev1.NewLinkServiceClient(s.conns[1]).Media(ctx); err != nil {
		return nil, err
	}
	if err = s.control.Send(&runtimev1.ControlRequest{Hello: hello}); err != nil {
		return nil, err
	}
	if err = s.media.Send(&runtimev1.MediaRequest{Hello: hello}); err != nil {
		return nil, err
	}
	go read(s, s.control.Recv, s.takeControl)
	go read(s, s.media.Recv, s.takeMedia)
	s.mu.Lock()
	s.send(&runtimev1.LinkControlFrame{Frame: &runtimev1.LinkControlFrame_Bind{Bind: &runtimev1.BindSession{
		SessionRef: ref,
		Binding: &runtimev1.SessionBinding{
			Session: o.Key, PipelineVersion: o.PipelineVersion, AuthorityEpoch: o.Epoch,
			Format:     &eventv1.AudioFormat{Codec: eventv1.AudioCodec_AUDIO_CODEC_PCM_S16LE, SampleRateHz: rateHz, Channels: 1},
			BaseWallMs: uint64(s.started.UnixMilli()), SchemaVersion: 1,
		},
	}}})
	s.positioned(&runtimev1.PositionedControl{Payload: &runtimev1.PositionedControl_Open{
		Open: &runtimev1.OpenSession{Token: []byte(o.Token), Grant: o.Grant},
	}})
	s.mu.Unlock()
	select {
	case <-s.opened:
	case <-time.After(10 * time.Second):
		return nil, errors.New("the session was not opened within 10 s")
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.controlSeq++
	s.send(&runtimev1.LinkControlFrame{Frame: &runtimev1.LinkControlFrame_Overtaking{Overtaking: &runtimev1.OvertakingControl{
		SessionRef: ref, Sequence: s.controlSeq, ElapsedUs: s.elapsedUs(),
		Details: &runtimev1.LinkEventDetails{EventId: "c-1"},
		Payload: &runtimev1.OvertakingControl_Control{Control: &eventv1.Control{
			Signal:  eventv1.ControlSignal_CONTROL_SIGNAL_CONNECTED,
			Emitter: eventv1.SignalEmitter_SIGNAL_EMITTER_ADAPTER,
			Scope:   eventv1.SignalScope_SIGNAL_SCOPE_SESSION,
		}},
	}}})
	return s, s.err
}

func read[T any](s *Session, recv func() (*T, error), take func(*T)) {
	for {
		message, err := recv()
		if err != nil {
			if !errors.Is(err, io.EOF) && status.Code(err) != codes.Canceled {
				s.fail(err)
			}
			return
		}
		take(message)
	}
}

func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *Session) failLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	s.openedLocked()
}

func (s *Session) openedLocked() {
	select {
	case <-s.opened:
	default:
		close(s.opened)
	}
}

// Err is why the session broke, if it did.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Over counts turns that have closed and been heard to their end.
func (s *Session) Over() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, signal := range s.Signals {
		if signal.Name == "close" {
			count++
		}
	}
	return min(count, s.ended)
}

func (s *Session) elapsedUs() float64 { return float64(time.Since(s.started).Microseconds()) }

func (s *Session) send(frames ...*runtimev1.LinkControlFrame) {
	if err := s.control.Send(&runtimev1.ControlRequest{Frames: frames}); err != nil && !errors.Is(err, io.EOF) {
		s.failLocked(err)
	}
}

func (s *Session) positioned(message *runtimev1.PositionedControl) {
	s.controlSeq++
	message.SessionRef, message.Sequence, message.ElapsedUs = ref, s.controlSeq, s.elapsedUs()
	s.send(&runtimev1.LinkControlFrame{Frame: &runtimev1.LinkControlFrame_Positioned{Positioned: message}})
}

// Speak sends one 20 ms frame of the caller's audio.
func (s *Session) Speak(pcm []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dataSeq++
	s.sentBytes += len(pcm)
	sample := (s.dataSeq - 1) * (rateHz / 50)
	err := s.media.Send(&runtimev1.MediaRequest{Events: []*runtimev1.LinkEvent{{
		SessionRef: ref, Lane: commonv1.Lane_LANE_DATA, Sequence: s.dataSeq,
		SentAudioUs: float64(s.dataSeq) * frameUs, SentBytes: float64(s.sentBytes), MediaSample: &sample,
		ElapsedUs: s.elapsedUs(), EventNumber: s.dataSeq, Audio: pcm, DurationUs: frameUs,
	}}})
	if err != nil && !errors.Is(err, io.EOF) {
		s.failLocked(err)
	}
}

func (s *Session) takeControl(message *runtimev1.ControlResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, frame := range message.Frames {
		switch f := frame.Frame.(type) {
		case *runtimev1.LinkControlFrame_Ping:
			s.send(&runtimev1.LinkControlFrame{Frame: &runtimev1.LinkControlFrame_Pong{Pong: &runtimev1.LinkPong{Nonce: f.Ping.Nonce}}})
		case *runtimev1.LinkControlFrame_Positioned:
			s.acted.Control = max(s.acted.Control, f.Positioned.Sequence)
			s.takePositioned(f.Positioned)
		case *runtimev1.LinkControlFrame_Overtaking:
			s.acted.Control = max(s.acted.Control, f.Overtaking.Sequence)
			s.takeOvertaking(f.Overtaking)
		case *runtimev1.LinkControlFrame_Break:
			s.failLocked(fmt.Errorf("broken off: %v", f.Break))
		case *runtimev1.LinkControlFrame_Unbind:
			s.failLocked(fmt.Errorf("unbound: %v", f.Unbind))
		case *runtimev1.LinkControlFrame_Fault:
			s.failLocked(fmt.Errorf("fault: %v", f.Fault))
		}
	}
}

func (s *Session) takePositioned(message *runtimev1.PositionedControl) {
	switch payload := message.Payload.(type) {
	case *runtimev1.PositionedControl_Opened:
		s.openedLocked()
	case *runtimev1.PositionedControl_Text:
		if payload.Text.Final {
			s.Finals = append(s.Finals, payload.Text.Text)
		}
	case *runtimev1.PositionedControl_Control:
		s.signal(payload.Control.Signal, message.TurnNumber)
	case *runtimev1.PositionedControl_Error:
		s.failLocked(fmt.Errorf("error: %v", payload.Error))
	}
}

func (s *Session) takeOvertaking(message *runtimev1.OvertakingControl) {
	switch payload := message.Payload.(type) {
	case *runtimev1.OvertakingControl_Control:
		s.signal(payload.Control.Signal, message.TurnNumber)
	case *runtimev1.OvertakingControl_Fence:
		ack := &runtimev1.FenceAck{FenceSequence: message.Sequence, AuthorityEpoch: payload.Fence.AuthorityEpoch}
		for _, cutoff := range message.Cutoffs {
			s.fences[cutoff.TurnNumber] = max(s.fences[cutoff.TurnNumber], cutoff.MinGeneration)
			ack.Played = append(ack.Played, &runtimev1.TurnPlayed{
				TurnNumber: cutoff.TurnNumber, FenceGeneration: cutoff.MinGeneration, PlayedUs: s.HeardUs[cutoff.TurnNumber],
			})
		}
		s.positioned(&runtimev1.PositionedControl{Payload: &runtimev1.PositionedControl_FenceAck{FenceAck: ack}})
	}
}

func (s *Session) signal(signal eventv1.ControlSignal, turn uint32) {
	name := strings.ToLower(strings.TrimPrefix(signal.String(), "CONTROL_SIGNAL_"))
	s.Signals = append(s.Signals, Signal{Turn: turn, Name: name})
}

func (s *Session) takeMedia(message *runtimev1.MediaResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, event := range message.Events {
		if event.Lane != commonv1.Lane_LANE_DATA {
			s.acted.Telemetry = max(s.acted.Telemetry, event.Sequence)
			continue
		}
		s.acted.Data = max(s.acted.Data, event.Sequence, event.SkipToSequence)
		if event.SkipToSequence == 0 {
			s.play(event)
		}
		s.send(&runtimev1.LinkControlFrame{Frame: &runtimev1.LinkControlFrame_Receipts{Receipts: &runtimev1.LinkReceipts{
			Receipts: []*runtimev1.LinkReceipt{{
				SessionRef: ref, GrantedAudioUs: event.SentAudioUs + 5_000_000, GrantedBytes: event.SentBytes + 524_288,
				Acted: &runtimev1.LaneMarks{Control: s.acted.Control, Data: s.acted.Data, Telemetry: s.acted.Telemetry},
			}},
		}}})
	}
}

// What comes is heard at once: this client has no loudspeaker to wait for.
func (s *Session) play(event *runtimev1.LinkEvent) {
	turn, generation := event.TurnNumber, event.FenceGeneration
	if generation < s.fences[turn] {
		s.AfterFlush++
		return
	}
	_, known := s.HeardUs[turn]
	s.HeardUs[turn] += uint64(event.DurationUs)
	report := func(step runtimev1.DeliveryStep) {
		s.positioned(&runtimev1.PositionedControl{Payload: &runtimev1.PositionedControl_Delivery{Delivery: &runtimev1.DeliveryReport{
			TurnNumber: turn, FenceGeneration: generation, Step: step, PlayedUs: s.HeardUs[turn], AuthorityEpoch: s.epoch,
		}}})
	}
	if !known {
		report(runtimev1.DeliveryStep_DELIVERY_STEP_STARTED)
	}
	if event.End {
		s.ended++
		report(runtimev1.DeliveryStep_DELIVERY_STEP_COMPLETED)
	}
}

// Close hangs up.
func (s *Session) Close() {
	s.mu.Lock()
	s.controlSeq++
	s.send(&runtimev1.LinkControlFrame{Frame: &runtimev1.LinkControlFrame_Unbind{Unbind: &runtimev1.UnbindSession{
		SessionRef: ref, Sequence: s.controlSeq, LastMediaSequence: s.dataSeq, Reason: commonv1.Reason_REASON_CALLER_HANGUP,
	}}})
	s.mu.Unlock()
	_ = s.control.CloseSend()
	_ = s.media.CloseSend()
	time.Sleep(100 * time.Millisecond)
	for _, conn := range s.conns {
		_ = conn.Close()
	}
}
