
# What follows is the same for every script. This file is called with one word:
#   run     runs the script, unless its run is claimed already
#   stop    ends the script, or claims its run so that it never starts
#   settle  writes the outcome of a run that died without one
$ErrorActionPreference = 'Stop'
$here = Split-Path -Parent $MyInvocation.MyCommand.Path

function Join-Here([string]$name) { Join-Path $here $name }

function Get-Seconds { [long][Math]::Floor(([DateTime]::UtcNow - [DateTime]'1970-01-01').TotalSeconds) }

# A process is its PID and its start time, which no process has again after a reboot: the PID alone may belong to another
# process by now.
function Get-Identity($process) { '{0} {1}' -f $process.Id, $process.StartTime.ToFileTimeUtc() }

function Find-Process([string]$name) {
    if (-not (Test-Path -LiteralPath (Join-Here $name))) { return $null }
    try {
        $id, $start = [IO.File]::ReadAllText((Join-Here $name)).Trim() -split ' '
        $process = Get-Process -Id $id
        # Some systems report a start time with an error of milliseconds.
        $difference = [Math]::Abs($process.StartTime.ToFileTimeUtc() - [long]$start)
        if (-not $process.HasExited -and $difference -lt 10000000) { return $process }
    } catch { }  # It does not run, or belongs to another user.
    return $null
}

function Write-Identity([string]$name, $process) {
    [IO.File]::WriteAllText((Join-Here "$name.$PID"), (Get-Identity $process))
    # This fails where there is such a file already.
    [IO.File]::Move((Join-Here "$name.$PID"), (Join-Here $name))
}

function Test-Claimed {
    try {
        Write-Identity 'claim' (Get-Process -Id $PID)
        return $false
    } catch {
        if (Test-Path -LiteralPath (Join-Here 'claim')) { return $true }
        exit 73
    } finally { Remove-Here "claim.$PID" }
}

function Remove-Here([string[]]$names) {
    foreach ($name in $names) { Remove-Item -LiteralPath (Join-Here $name) -Force -ErrorAction SilentlyContinue }
}

function Read-End([string]$name, [long]$most = $limit) {
    $file = [IO.File]::Open((Join-Here $name), 'OpenOrCreate', 'Read', 'ReadWrite, Delete')
    try {
        $total = $file.Length
        $bytes = New-Object byte[] ([Math]::Min($total, $most))
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

# Writes the outcome, whole or not at all; the code is an exit code, "none" or "never".
function Write-Outcome([string]$code) {
    $out = Read-End 'stdout'
    $err = Read-End 'stderr'
    $numbers = $out.Total, $out.Bytes.Length, $err.Total, $err.Bytes.Length, $began, (Get-Seconds)
    $header = [Text.Encoding]::ASCII.GetBytes("$code $numbers`n")
    try {
        $file = [IO.File]::Create((Join-Here "outcome.$PID"))
        try {
            $file.Write($header, 0, $header.Length)
            $file.Write($out.Bytes, 0, $out.Bytes.Length)
            $file.Write($err.Bytes, 0, $err.Bytes.Length)
        } finally { $file.Close() }
        [IO.File]::Move((Join-Here "outcome.$PID"), (Join-Here 'outcome'))
    } catch { exit 74 }
    Remove-Here 'script', 'script.ps1', 'script.cmd', 'launch.ps1', 'program.ps1', 'stdin', 'process', 'stdout', 'stderr',
        'progress'
}

# Writes the length of the output so far, and its end: what is shown while the script runs.
function Write-Progress-File {
    $end = Read-End 'stdout' 4096
    $header = [Text.Encoding]::ASCII.GetBytes("$($end.Total)`n")
    [IO.File]::WriteAllBytes((Join-Here 'progress.part'), $header + $end.Bytes)
    Move-Item -LiteralPath (Join-Here 'progress.part') -Destination (Join-Here 'progress') -Force
}

# .NET removes a variable that is set to nothing; the system itself keeps it.
function Set-Variables {
    foreach ($name in $variables.Keys) {
        [Environment]::SetEnvironmentVariable($name, $variables[$name])
        if ($variables[$name] -eq '' -and [IO.Path]::DirectorySeparatorChar -eq '\') {
            $method = '[DllImport("kernel32.dll", CharSet = CharSet.Unicode)]' +
                'public static extern bool SetEnvironmentVariable(string name, string value);'
            $kernel = Add-Type -Namespace CustomizationGate -Name Kernel -MemberDefinition $method -PassThru
            [void]$kernel::SetEnvironmentVariable($name, '')
        }
    }
}

$began = 0
switch ($args[0]) {
    'run' {
        if (Test-Claimed) { exit 0 }
        # The script's own console programs take the encoding over.
        try { [Console]::OutputEncoding = New-Object Text.UTF8Encoding $false } catch { }
        # Found before the script's own PATH is set.
        $found = Get-Command $program.FilePath -CommandType Application -ErrorAction SilentlyContinue |
            Select-Object -First 1
        if ($found) { $program.FilePath = $found.Path }
        if (-not (Test-Path -LiteralPath (Join-Here 'stdin'))) { [IO.File]::WriteAllText((Join-Here 'stdin'), '') }
        $began = Get-Seconds
        try {
            Set-Variables
            $process = Start-Process @program -NoNewWindow -PassThru -RedirectStandardInput (Join-Here 'stdin') `
                -RedirectStandardOutput (Join-Here 'stdout') -RedirectStandardError (Join-Here 'stderr')
            [void]$process.Handle  # Without a look at it, the exit code is not kept.
            # A script whose identity cannot be written runs all the same; it only cannot be stopped.
            try { Write-Identity 'process' $process } catch { }
            while (-not $process.WaitForExit(2000)) { if ($progress) { try { Write-Progress-File } catch { } } }
            # Windows has exit codes without a sign.
            $code = [long]$process.ExitCode
            if ($code -lt 0) { $code += 4294967296 }
        } catch {
            [IO.File]::WriteAllText((Join-Here 'stderr'), [string]$_)
            $code = 127
        }
        Write-Outcome $code
    }
    'stop' {
        if (Test-Path -LiteralPath (Join-Here 'outcome')) { exit 0 }
        if (-not (Test-Claimed)) {
            Write-Outcome 'never'
            exit 0
        }
        foreach ($attempt in 1..3) {
            if (Test-Path -LiteralPath (Join-Here 'process')) { break }
            Start-Sleep -Seconds 1
        }
        $process = Find-Process 'process'
        if (-not $process) { exit 0 }
        if (Get-Command taskkill.exe -ErrorAction SilentlyContinue) {
            & taskkill.exe /T /F /PID $process.Id | Out-Null
        } else {
            $process.Kill($true)
        }
    }
    'settle' {
        if (-not (Test-Path -LiteralPath (Join-Here 'claim'))) { exit 0 }
        if ((Find-Process 'claim') -or (Find-Process 'process')) { exit 0 }
        if (-not (Test-Path -LiteralPath (Join-Here 'outcome'))) { Write-Outcome 'none' }
    }
}
