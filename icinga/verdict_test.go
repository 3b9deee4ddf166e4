package icinga

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	results := func(code, status string) string {
		return `{"results":[{"code":` + code + `,"status":"` + status + `"}]}`
	}
	tests := map[string]struct {
		status int
		body   string
		want   outcome
		says   string
	}{
		"taken":           {200, results("200", "Successfully processed check result for object 'db1!disk'."), taken, ""},
		"taken, odd name": {200, results("200", `Successfully processed check result for object 'db1!a\"b\\c'.`), taken, ""},
		"another's too":   {200, `{"results":[{"code":500,"status":"a"},` + results("200", "Successfully processed check result for object 'a'.")[12:], refused, "500"},
		"taken, a float":  {200, results("200.0", "Successfully processed check result for object 'db1!disk'."), taken, ""},
		"parent away":     {200, results("200", "Ignoring passive check result for unreachable object 'db1!disk'."), ignored, "Ignoring"},
		"no answer in it": {200, `{"results":[]}`, outage, "without a result"},
		"not Icinga":      {200, "<html>hello</html>", outage, "200"},
		"bad value":       {400, results("400", "Parameter 'exit_status' is invalid"), refused, "exit_status"},
		"failed":          {500, results("500", "Action execution failed: 'Invalid'"), refused, "Action execution failed"},
		"nothing matched": {500, `{"results":[]}`, refused, "500"},
		"several codes":   {500, results("409", "Newer check result already present."), stale, ""},
		"older":           {409, results("409", "Newer check result already present."), stale, ""},
		"inactive object": {503, results("503", "Object is inactive"), unavailable, "503"},
		"reloading":       {503, `{"error":503,"status":"Icinga is reloading."}`, outage, "reloading"},
		"bad password":    {401, `{"error":401,"status":"Unauthorized. Please check your user credentials."}`, unauthorized, "credentials"},
		"passive off":     {403, results("403", "Passive checks are disabled for object 'db1!disk'."), forbidden, "disabled"},
		"no permission":   {403, `{"error":403,"status":"Missing permission"}`, forbidden, "permission"},
		"no object":       {404, `{"error":404,"status":"No objects found."}`, absent, "No objects"},
		"too large":       {413, ``, refused, "413"},
		"proxy":           {502, `<html>`, outage, "502"},
		"long text":       {400, results("400", strings.Repeat("ä", 4000)), refused, "…"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, text := judge(tt.status, []byte(tt.body))
			if got != tt.want || !strings.Contains(text, tt.says) || (got == taken) != (text == "") {
				t.Errorf("judge = %v, %q; want %v", got, text, tt.want)
			}
			if len(text) > 300 {
				t.Errorf("the text has %d bytes", len(text))
			}
		})
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(200, []byte(`{"results":[{"code":200,"status":"Successfully processed check result"}]}`))
	f.Add(200, []byte(`{"results":[{"code":200,"status":"Successfully processed check result for object 'db1!disk'."}]}`))
	f.Add(200, []byte(`{"results":[{"code":200,"status":"Successfully processed check result for object 'a'."},{"code":500,"status":"'."}]}`))
	f.Add(500, []byte(`{"results":[]}`))
	f.Add(404, []byte(`{"error":404,"status":"No objects found."}`))
	f.Add(200, []byte(`null`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		var reply struct {
			Results []struct {
				Code   float64 `json:"code"`
				Status string  `json:"status"`
			} `json:"results"`
		}
		if isProcessed(body) && (json.Unmarshal(body, &reply) != nil || len(reply.Results) != 1 || reply.Results[0].Code != 200 ||
			!strings.HasPrefix(reply.Results[0].Status, "Successfully")) {
			t.Errorf("%s passes for a success", body)
		}
		if got, text := judge(status, body); got != taken && text == "" {
			t.Errorf("judge = %v without a reason", got)
		}
	})
}
