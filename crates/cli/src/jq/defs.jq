# What jq knows and jaq's libraries do not, and what has to be otherwise here.

# A message that ends the command; `last_words` keeps it for the error.
def halt_error($code): last_words($code);
def halt_error: halt_error(5);

# The document is the only input, and comes from no file.
def input_filename: null;
def input_line_number: 0;

def csv_row(f):
  if isarray then . else error("\(tojson) cannot be formatted as a row: only an array can") end
  | map(if . == null then "" elif isstring then f elif isnumber or isboolean then tostring
        else error("\(tojson) cannot stand in a row: it is an array or object") end);
def @csv: csv_row("\"" + gsub("\""; "\"\"") + "\"") | join(",");
def @tsv: csv_row(gsub("\\\\"; "\\\\") | gsub("\t"; "\\t") | gsub("\n"; "\\n") | gsub("\r"; "\\r")) | join("\t");
def format($name):
    if $name == "csv" then @csv elif $name == "tsv" then @tsv elif $name == "json" then @json
  elif $name == "text" then @text elif $name == "html" then @html elif $name == "uri" then @uri
  elif $name == "sh" then @sh elif $name == "base64" then @base64 elif $name == "base64d" then @base64d
  else error("\($name) is not a valid format") end;

def toarray: if isarray then . else [.] end;
def ascii: [.] | implode;
def leaf_paths: paths(scalars);
def recurse_down: recurse;
def date: todate;
def dateadd(unit; $seconds): . + $seconds;
def datesub(unit; $seconds): . - $seconds;

def IN(values): . as $one | any(values; . == $one);
def IN(some; values): any(some; IN(values));
def INDEX(rows; key): reduce rows as $row ({}; .[$row | key | tostring] = $row);
def INDEX(key): INDEX(.[]; key);

def tostream:
  def events($path; $last):
    if (isarray or isobject) and length > 0 then
      . as $whole | (keys | last) as $end
      | (keys_unsorted[] as $key | $whole[$key] | events($path + [$key]; false)), [$path + [$end]]
    else [$path, .] end;
  events([]; true);
def truncate_stream(events): . as $depth | events | select(.[0] | length > $depth) | .[0] |= .[$depth:];
def fromstream(events):
  # jaq's own assignment makes nothing of null.
  def put($path; $value):
    if $path == [] then $value else
      $path[0] as $key | (.[$key] | put($path[1:]; $value)) as $inner
      | if $key | isnumber then (. // [])[:$key] + [$inner] else . + {($key): $inner} end
    end;
  foreach events as $event ({};
    if .whole then {} else . end
    | if $event | length == 2
      then .value as $value | .value = ($value | put($event[0]; $event[1])) | .whole = ($event[0] == [])
      else .whole = ($event[0] | length == 1) end;
    if .whole then .value else empty end);
