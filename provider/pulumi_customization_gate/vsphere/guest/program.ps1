
# What follows is the same for every script. It is called `-File <this file> run <attempt>`, or `... stop`.
$ErrorActionPreference = 'Stop'
$here = Split-Path -Parent $MyInvocation.MyCommand.Path

if ($args[0] -eq 'stop') {
    & taskkill.exe /T /F /PID ([IO.File]::ReadAllText("$here\group").Trim()) | Out-Null
    exit 0
}

# Whoever makes this directory runs the script: a request that is delivered twice finds it there.
try { New-Item -ItemType Directory -Path "$here\started-$($args[1])" | Out-Null } catch { exit 0 }

# The script's own console programs take the encoding over.
try { [Console]::OutputEncoding = New-Object Text.UTF8Encoding $false } catch { }

function Read-End([string]$path) {
    $file = [IO.File]::Open($path, 'OpenOrCreate', 'Read', 'ReadWrite, Delete')
    try {
        $total = $file.Length
        $bytes = New-Object byte[] ([Math]::Min($total, $limit))
        [void]$file.Seek($total - $bytes.Length, 'Begin')
        $read = 0
        while ($read -lt $bytes.Length) {
            $more = $file.Read($bytes, $read, $bytes.Length - $read)
            if ($more -eq 0) { break }
            $read += $more
        }
        return @{ Total = $total; Bytes = $bytes }
    } finally { $file.Close() }
}

[IO.File]::WriteAllText("$here\nothing", '')
try {
    $process = Start-Process @program -NoNewWindow -PassThru -RedirectStandardInput "$here\nothing" `
        -RedirectStandardOutput "$here\stdout" -RedirectStandardError "$here\stderr"
    [void]$process.Handle  # Without a look at it, the exit code is not kept.
    [IO.File]::WriteAllText("$here\group", [string]$process.Id)
    $process.WaitForExit()
    $code = $process.ExitCode
} catch {
    [IO.File]::WriteAllText("$here\stderr", [string]$_)
    $code = 127
}

$out = Read-End "$here\stdout"
$err = Read-End "$here\stderr"
$header = "$code $($out.Total) $($out.Bytes.Length) $($err.Total) $($err.Bytes.Length)`n"
$header = [Text.Encoding]::ASCII.GetBytes($header)
$file = [IO.File]::Create("$here\outcome.part")
try {
    $file.Write($header, 0, $header.Length)
    $file.Write($out.Bytes, 0, $out.Bytes.Length)
    $file.Write($err.Bytes, 0, $err.Bytes.Length)
} finally { $file.Close() }
Move-Item "$here\outcome.part" "$here\outcome"
