# Completes NAME in PowerShell. Use it with: NAME completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName 'NAME' -ScriptBlock {
    param($current, $line, $cursor)
    $words = @($line.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursor } | ForEach-Object { "$_" })
    $program = $words[0]
    # The last word is cut at the cursor; behind a space it is empty, which older versions pass on only in quotes.
    $last = $line.CommandElements[$words.Count - 1]
    if ($words.Count -gt 1 -and $last.Extent.EndOffset -ge $cursor) {
        $current = "$last".Substring(0, $cursor - $last.Extent.StartOffset)
        $words = @($words | Select-Object -SkipLast 1)
    } else {
        $current = '""'
    }
    $words = @($words | Select-Object -Skip 1)
    $flag = if ($current -match '^-[^=]*=') { $Matches[0] } else { '' }
    $directive = 4
    $found = @(& $program COMPLETE @words $current 2> $null | ForEach-Object {
        if ($_ -match '^:(\d+)$') { $directive = [int] $Matches[1]; return }
        $value, $help = "$_" -split "`t", 2
        if (-not $help) { $help = $value }
        [System.Management.Automation.CompletionResult]::new("$flag$value", $value, 'ParameterValue', $help)
    })
    if ($found.Count -eq 0 -and $directive -band 4) { '' } else { $found }
}
