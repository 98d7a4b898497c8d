//go:build !(rdma && linux && cgo)

package verbs

import "fmt"

// DeviceList is never made in this build.
type DeviceList struct{}

// EventChannel is never made in this build.
type EventChannel struct{}

func unsupported(verb string) error {
	return fmt.Errorf("%s: this build has no verbs: build on Linux with cgo, -tags rdma, and the packages "+
		"libibverbs-dev and librdmacm-dev: %w", verb, ErrUnsupported)
}

// GetDeviceList returns ErrUnsupported.
func GetDeviceList() (*DeviceList, error) { return nil, unsupported("ibv_get_device_list") }

// CreateEventChannel returns ErrUnsupported.
func CreateEventChannel() (*EventChannel, error) {
	return nil, unsupported("rdma_create_event_channel")
}

// Close is never called in this build: there is nothing to close.
func (*DeviceList) Close() error { return closedError("ibv_free_device_list") }

// Close is never called in this build: there is nothing to close.
func (*EventChannel) Close() error { return closedError("rdma_destroy_event_channel") }
