// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: Apache-2.0

// Reads lines and writes what an RFC 5424 parser finds in each, as a line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"github.com/influxdata/go-syslog/rfc5424"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4<<20)
	found := json.NewEncoder(os.Stdout)
	parser := rfc5424.NewParser()
	for lines.Scan() {
		message, err := parser.Parse(lines.Bytes())
		if err != nil {
			found.Encode(map[string]any{"error": err.Error()})
			continue
		}
		found.Encode(map[string]any{
			"facility":        message.Facility(),
			"severity":        message.Severity(),
			"version":         message.Version(),
			"timestamp":       message.Timestamp(),
			"hostname":        message.Hostname(),
			"app_name":        message.Appname(),
			"message_id":      message.MsgID(),
			"structured_data": message.StructuredData(),
			"message":         message.Message(),
		})
	}
}
